#ifndef KEYSPHERE_HOSTAGENT_VM_VM_FOLDER_H_
#define KEYSPHERE_HOSTAGENT_VM_VM_FOLDER_H_

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/optional.h"
#include "common/crypto/secret_key.h"
#include "common/files/file_system.h"
#include "hostagent/vm/journal.h"
#include "hostagent/vm/key_safe.h"
#include "hostagent/vm/vm_config.h"
#include "hostagent/vm/vm_disk.h"

namespace keysphere::hostagent::vm {

class RunningVm;
class VmFolder;
class VmJob;

struct DiskDescription {
  std::string device;  // "scsi0:0"; "" for a disk of a VM whose config has not been opened
  std::string file;
  std::string flat_file;
  uint64_t bytes = 0;
  absl::optional<KeyId> key_id;  // none: not encrypted
  absl::Status problem;          // why it cannot be used; see VmDisk
};

struct VmDescription {
  std::string name;
  std::string uuid;  // of an encrypted VM: what its ciphertexts are bound to; "" if it has none
  std::string guest_os;
  std::string vmx_path;
  bool encrypted = false;                    // the home is
  absl::optional<KeyId> key_id;              // config.keyId (S81); none: not encrypted
  bool config_known = false;                 // plain, or opened once in this process
  bool vtpm = false;                         // false while the config is not known
  bool migrate_encryption_required = false;  // S113
  bool powered_on = false;                   // by this VmFolder
  std::vector<DiskDescription> disks;
};

// The key of one object of a VM: "home", "nvram", or a disk's descriptor.
struct ObjectKey {
  std::string object;
  KeyId key;
};

struct DiskSelection {
  bool all = true;
  std::vector<std::string> devices;  // or descriptor file names; where !all
  static DiskSelection All() { return {}; }
  static DiskSelection None() { return {false, {}}; }
};

struct NewDisk {
  std::string raw_image;  // path of an image to import; "": an empty disk
  uint64_t bytes = 0;     // of an empty disk, or to grow an image; a multiple of 512
  // An encrypted VM's disk is encrypted under the home's KEK (S153), unless this says no.
  bool encrypt = true;
};

// What Create makes.
struct NewVm {
  std::string name;  // also the files' stem, made safe
  std::string guest_os = "other-64";
  std::string uuid;  // 8-4-4-4-12; a random one if empty
  std::vector<NewDisk> disks;
  // Given: encrypted from the beginning, so that nothing of it is ever plain on the datastore.
  const crypto::SecretKey* kek = nullptr;
  KeyId key;
  bool vtpm = false;  // INVALID_STATE without a key (S112)
};

// A VM that Create makes. The folder is of no use before the job is done, nor where that fails.
struct VmInTheMaking {
  std::unique_ptr<VmFolder> folder;
  std::unique_ptr<VmJob> job;
};

// An encrypted home, really unwrapped (S135). Holds the DEK for as long as it lives.
class OpenVm {
 public:
  OpenVm(crypto::SecretKey home_dek, std::shared_ptr<const VmConfig> config)
      : home_dek_(std::move(home_dek)), config_(std::move(config)) {}
  const crypto::SecretKey& home_dek() const { return home_dek_; }
  const VmConfig& config() const { return *config_; }

 private:
  crypto::SecretKey home_dek_;
  std::shared_ptr<const VmConfig> config_;
};

// One VM's folder on a datastore. Used by one thread at a time (the VM's strand); synchronous.
//
// Files, for a VM whose .vmx is web-1.vmx (others' VMs may name theirs differently):
//   web-1.vmx                          plain, or sealed: see SealConfig
//   web-1.nvram                        plain, or sealed under a DEK of its own: see SealNvram
//   web-1-N.vmdk, web-1-N-flat.vmdk    descriptor (with `encryptionKeys`) and blocks (XTS)
//   web-1.ks-journal, web-1.ks-new.*   only during a change: see Transaction
// One KEK wraps the DEKs of home, NVRAM and disks (S153), each in a KeySafe bound to VM and object.
//
// Every change is one Transaction: it happens whole or not at all, whenever the process is killed;
// Open completes or undoes what it finds half done. A change holds the OFD lock of the .vmx, and so
// does a powered-on VM: VM_IN_USE where another process or VmFolder has it. The locks of the flat
// files keep two .vmx files that name one disk apart: held by a powered-on VM for all its disks,
// and by a change for those that it writes anew.
//
// Reasons of errors, beside those of FileSystem: VM_FILE_INVALID (malformed; names file and line or
// sizes), VM_FILE_MISSING, CIPHERTEXT_CORRUPT (a KEK that is not the one, or a changed ciphertext:
// the VM is then locked; metadata file, provider, key_id), INVALID_POWER_STATE (S106),
// INVALID_STATE (S107, S112, snapshots), UNSUPPORTED (sparse disks, password-encrypted VMs),
// CONFLICT (a job is under way). Errors of a KekLookup are handed on; about a disk (S110) with its
// name in front and metadata disk, provider, key_id.
class VmFolder {
 public:
  // Makes `folder` (if it is not there) and a VM in it. ALREADY_EXISTS if it has a .vmx. The VM is
  // there, whole, when the job is done; where that fails, or is cancelled, nothing stays.
  static absl::StatusOr<VmInTheMaking> Create(const files::FileSystem& files,
                                              absl::string_view folder, const NewVm& spec);
  // Removes what a Create of this .vmx left whose process was killed; nothing where the VM is
  // there, whole, or is being made.
  static absl::Status RemoveUnfinished(const files::FileSystem& files, absl::string_view vmx_path);
  // `path` is a .vmx or a folder with exactly one. Recovers first. What is wrong with disks is in
  // Describe(), not an error: the VM can be registered. `files` outlives the VmFolder.
  static absl::StatusOr<std::unique_ptr<VmFolder>> Open(const files::FileSystem& files,
                                                        absl::string_view path);
  ~VmFolder();
  VmFolder(const VmFolder&) = delete;
  VmFolder& operator=(const VmFolder&) = delete;

  // The key that the .vmx at `path` names for its home, also where the rest of the file is damaged.
  // None: it names none, or cannot be read.
  static absl::optional<KeyId> ReadKeyId(const files::FileSystem& files, absl::string_view path);

  // Reads again what has changed on disk since (stat of each file), and recovers where needed.
  absl::Status Refresh();

  // VM_FILE_MISSING: a disk that the configuration names is not there. OK while that is not known.
  absl::Status CheckDisksAreThere() const;
  // As of the last Refresh or operation; reads nothing but, for an encrypted VM that was never
  // opened, the descriptors in its folder.
  VmDescription Describe() const;
  std::vector<ObjectKey> ListKeyIds() const;
  const VmPaths& paths() const { return paths_; }
  bool encrypted() const { return sealed_.has_value(); }
  // As Describe() says it. Null: not encrypted.
  const KeyId* key_id() const { return sealed_.has_value() ? &sealed_->home.key : nullptr; }

  // The judgement of a lock (S134, S135): the home DEK is unwrapped with the KEK and opens the
  // configuration. INVALID_STATE for a plain VM.
  absl::StatusOr<OpenVm> UnwrapHome(const crypto::SecretKey& kek);
  absl::StatusOr<OpenVm> UnwrapHome(KekLookup lookup);

  // Home, NVRAM and the selected disks. In steps; see VmJob.
  absl::StatusOr<std::unique_ptr<VmJob>> Encrypt(const crypto::SecretKey& kek, const KeyId& key,
                                                 const DiskSelection& disks);
  // Further disks of a VM whose home is encrypted, under the home's KEK.
  absl::StatusOr<std::unique_ptr<VmJob>> EncryptDisks(KekLookup lookup, const DiskSelection& disks);
  // Everything. INVALID_STATE with a vTPM, which must be removed first.
  absl::StatusOr<std::unique_ptr<VmJob>> Decrypt(KekLookup lookup);
  // New KEK, same DEKs and ciphertexts, also while powered on (S43). Without disks they stay under
  // their old KEK (S153).
  absl::Status ShallowRekey(KekLookup lookup, const crypto::SecretKey& new_kek,
                            const KeyId& new_key, bool include_disks);
  // New KEK and new DEKs; powered off (S44).
  absl::StatusOr<std::unique_ptr<VmJob>> DeepRekey(KekLookup lookup,
                                                   const crypto::SecretKey& new_kek,
                                                   const KeyId& new_key, bool include_disks);
  // To an encrypted home (`kek` null), or to a plain one that is encrypted with `kek` and `key` in
  // the same change; INVALID_STATE for a plain home without (S112). Powered off.
  absl::Status AddVtpm(KekLookup lookup, const crypto::SecretKey* kek, const KeyId& key);
  // `lookup` is asked only for an encrypted VM. Also while powered on.
  absl::StatusOr<std::unique_ptr<VmJob>> AddDisk(const NewDisk& disk, KekLookup lookup);

  // Locks the .vmx and the disks, unwraps all DEKs and checks that the disks are there (S110).
  absl::StatusOr<std::unique_ptr<RunningVm>> PowerOn(KekLookup lookup);

  // Removes the VM's files, and its folder if nothing else is in it. Powered off.
  absl::Status Destroy();

 private:
  friend class RunningVm;
  friend class VmJob;
  struct Plan;
  class KekCache;
  // What making a VM brings into its folder.
  struct Fresh {
    bool folder_was_there = false;
    std::vector<std::string> files_before;  // sorted
    std::string temporaries;                // what their names begin with
    // Once they get their own names: those that were not there before, and the .vmx.
    std::vector<std::string> files;
    std::string vmx;
  };

  VmFolder(const files::FileSystem& files, VmPaths paths)
      : files_(files), paths_(std::move(paths)) {}

  absl::StatusOr<std::vector<std::string>> ListWithoutVm(absl::string_view vm) const;
  absl::StatusOr<Fresh> ClaimFolder(absl::string_view vm);
  absl::Status LockClaim(absl::string_view vm);
  // With the claim: what a former making left.
  absl::Status RemoveLeftovers();
  void EndClaim();
  absl::Status CommitNew(Plan* plan);
  absl::Status PlanNewVm(Plan* plan, const NewVm& spec);
  void RemoveNew(const Fresh& fresh);
  absl::Status Load();
  // `disks_locked`: by the change that failed.
  absl::Status RecoverIfNeeded(bool disks_locked = false);
  void SetConfig(VmConfig config);
  std::vector<VmDisk> ScanDisks() const;
  const VmDisk* FindDisk(absl::string_view device_or_file) const;
  // Whether one of disks_ before this one has the same blocks.
  bool SharesFlat(size_t index) const;

  // A change: no job is under way, recovered, fresh, the lock taken, with `powered_off` not
  // running; then `build` fills the plan. Job hands it to the caller in steps, Run carries it out
  // at once.
  using Build = absl::FunctionRef<absl::Status(Plan*)>;
  absl::Status Begin(bool powered_off, absl::string_view action);
  absl::StatusOr<Plan> MakePlan(bool powered_off, absl::string_view action, Build build);
  absl::StatusOr<std::unique_ptr<VmJob>> Job(bool powered_off, absl::string_view action,
                                             Build build);
  absl::Status Run(bool powered_off, absl::string_view action, Build build);
  absl::Status Commit(Plan* plan);
  absl::Status AfterCommit(Plan* plan);
  void ReleaseLock();

  absl::StatusOr<OpenVm> OpenHome(const crypto::SecretKey& kek);
  absl::StatusOr<OpenVm> OpenHome(KekCache& keks);
  absl::StatusOr<crypto::SecretKey> OpenNvramDek(KekCache& keks) const;
  absl::StatusOr<crypto::SecretKey> OpenDiskDek(const VmDisk& disk, KekCache& keks) const;
  // The NVRAM in clear; nullopt if the VM has none. `dek` null: it is plain.
  absl::StatusOr<absl::optional<std::string>> ReadNvram(const crypto::SecretKey* dek) const;

  // Parts of plans.
  absl::Status CheckReencryptable(absl::string_view action) const;
  absl::Status PlanNewHome(Plan* plan, const crypto::SecretKey& kek, const KeyId& key,
                           absl::string_view guid, const Vmx& inner,
                           const absl::optional<std::string>& nvram) const;
  absl::Status PlanSameHome(Plan* plan, const OpenVm& open, const Vmx& inner,
                            const absl::optional<KeySafe>& nvram) const;
  absl::Status PlanDisk(Plan* plan, const VmDisk& disk, crypto::SecretKey old_dek,
                        const crypto::SecretKey* new_kek, const KeyId& new_key,
                        absl::string_view guid) const;
  absl::Status PlanSelectedDisks(Plan* plan, const DiskSelection& disks,
                                 const crypto::SecretKey& kek, const KeyId& key,
                                 absl::string_view guid, Vmx* inner) const;
  absl::Status PlanShallow(Plan* plan, KekCache& keks, const crypto::SecretKey& new_kek,
                           const KeyId& new_key, bool include_disks);
  absl::Status PlanVtpm(Plan* plan, KekCache& keks, const crypto::SecretKey* kek, const KeyId& key);
  // `kek` null: a plain disk. `inner` then has it.
  absl::Status PlanNewDisk(Plan* plan, const NewDisk& spec, const crypto::SecretKey* kek,
                           const KeyId& key, absl::string_view guid, Vmx* inner) const;
  absl::StatusOr<VmDisk> NameNewDisk(const Plan& plan, uint64_t bytes, Vmx* vmx) const;

  const files::FileSystem& files_;
  const VmPaths paths_;

  files::FileInfo vmx_info_;
  Vmx vmx_;                                 // as on disk
  absl::optional<SealedConfig> sealed_;     // of an encrypted VM
  std::shared_ptr<const VmConfig> config_;  // null: encrypted and not opened yet
  std::string config_text_;                 // of an encrypted VM's config_
  std::vector<VmDisk> disks_;               // where config_ is known

  // Of the .vmx: during a change, and while powered on. Of the claim while the VM is made.
  files::FileLock lock_;
  RunningVm* running_ = nullptr;
  bool job_ = false;          // one is under way
  bool unrecovered_ = false;  // a commit was not completed
};

}  // namespace keysphere::hostagent::vm

#endif  // KEYSPHERE_HOSTAGENT_VM_VM_FOLDER_H_
