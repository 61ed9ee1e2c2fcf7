#include "services/simulator/cluster_folder.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/memory/memory.h"
#include "absl/strings/str_cat.h"
#include "common/files/names.h"
#include "common/status/status.h"
#include "google/protobuf/util/json_util.h"

namespace keysphere::simulator {
namespace {

constexpr auto kNotDurable = files::Durability::kNotDurable;

constexpr char kMark[] = "/.keysphere-cluster";
constexpr size_t kMaxMarkBytes = 64;
// What the mark says: whether the folder was made with the cluster, and whether all is to stay.
constexpr char kMadeHere[] = "folder made";
constexpr char kWasThere[] = "folder was there";
constexpr char kToKeep[] = "kept";

// All that a cluster makes in its folder.
void RemoveContent(const files::FileSystem& files, const std::string& path, bool made) {
  std::error_code error;
  for (const char* name : {"/pki", "/state", "/tpm", "/logs", "/datastores", "/clock"}) {
    std::filesystem::remove_all(path + name, error);
  }
  // While that is there, the folder is a cluster's.
  std::filesystem::remove(path + "/cluster.json", error);
  files.RemoveStaleTemporaries(path).IgnoreError();
  std::filesystem::remove(path + kMark, error);
  if (made) std::filesystem::remove(path, error);
}

// A simulated cluster ends with its machine: nothing here is synced.
absl::Status MakeFolder(const std::string& path) {
  if (mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return absl::OkStatus();
  return files::FileSystem::ErrorOf(errno, "make", path);
}

absl::StatusOr<std::string> NewTemporaryFolder(const std::string& parent) {
  std::string path = parent + "/keysphere-XXXXXX";
  if (mkdtemp(path.data()) == nullptr) return files::FileSystem::ErrorOf(errno, "make", path);
  return path;
}

// The path without "." and links, so that every process may use it whatever its working folder is.
absl::StatusOr<std::string> Resolve(const std::string& path) {
  std::error_code error;
  const std::string whole = std::filesystem::canonical(path, error).string();
  if (error) return files::FileSystem::ErrorOf(error.value(), "open", path);
  return whole;
}

// True: the folder was made.
absl::StatusOr<bool> TakeFolder(const files::FileSystem& files, const std::string& path) {
  KS_ASSIGN_OR_RETURN(const bool exists, files.Exists(path));
  if (!exists) {
    KS_RETURN_IF_ERROR(files.MakeFolders(path));
    return true;
  }
  KS_ASSIGN_OR_RETURN(const std::vector<std::string> names, files.List(path));
  if (names.empty()) {
    if (chmod(path.c_str(), 0700) != 0) return files::FileSystem::ErrorOf(errno, "change", path);
    return false;
  }
  if (files.Exists(path + kMark).value_or(false)) {
    return status::Error(v1::REASON_INVALID_STATE,
                         absl::StrCat(status::Quote(path), " holds what a cluster left"))
        .NextStep(
            "`keysphere down --dir` of the folder removes it, unless it was to be kept: then name "
            "another folder.");
  }
  return status::Error(v1::REASON_INVALID_STATE, absl::StrCat(status::Quote(path), " is not empty"))
      .NextStep("Name a new or empty folder; a cluster is not started from an old one's files.");
}

}  // namespace

std::string ClusterToJson(const sim::v1::SimulatedCluster& cluster) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.always_print_primitive_fields = true;
  std::string json;
  KS_CHECK(google::protobuf::util::MessageToJsonString(cluster, &json, options).ok());
  return json;
}

std::string ClusterToJsonLine(const sim::v1::SimulatedCluster& cluster) {
  std::string json;
  KS_CHECK(google::protobuf::util::MessageToJsonString(cluster, &json).ok());
  return json;
}

absl::StatusOr<sim::v1::SimulatedCluster> ClusterFromJson(absl::string_view json) {
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  sim::v1::SimulatedCluster cluster;
  if (google::protobuf::util::JsonStringToMessage(std::string(json), &cluster, options).ok()) {
    return cluster;
  }
  return status::Error(v1::REASON_INVALID_ARGUMENT, "not a description of a simulated cluster");
}

absl::StatusOr<std::unique_ptr<ClusterFolder>> ClusterFolder::Make(const files::FileSystem* files,
                                                                   const Options& options) {
  bool made = true;
  std::string path = options.path;
  if (path.empty()) {
    KS_ASSIGN_OR_RETURN(path, NewTemporaryFolder(options.temporary));
  } else {
    KS_ASSIGN_OR_RETURN(made, TakeFolder(*files, path));
  }
  KS_ASSIGN_OR_RETURN(path, Resolve(path));
  auto folder = absl::WrapUnique(
      new ClusterFolder(files, path, made, options.keep, identity::Validity::From(options.now)));
  // First of all: without it, nobody would know whose the rest is.
  KS_RETURN_IF_ERROR(files->WriteFileAtomically(path + kMark,
                                                options.keep ? kToKeep
                                                : made       ? kMadeHere
                                                             : kWasThere,
                                                0600, kNotDurable));
  KS_ASSIGN_OR_RETURN(folder->mark_, files->Lock(path + kMark));
  for (const char* name : {"/pki", "/state", "/tpm", "/logs", "/datastores"}) {
    KS_RETURN_IF_ERROR(MakeFolder(path + name));
  }
  KS_RETURN_IF_ERROR(MakeFolder(folder->Datastore()));
  KS_ASSIGN_OR_RETURN(folder->authority_,
                      identity::Authority::Create(kTrustDomain, folder->validity_));
  KS_RETURN_IF_ERROR(folder->authority_->Write(path + "/pki"));
  return folder;
}

ClusterFolder::ClusterFolder(const files::FileSystem* files, std::string path, bool made, bool keep,
                             identity::Validity validity)
    : files_(files), path_(std::move(path)), made_(made), keep_(keep), validity_(validity) {}

ClusterFolder::~ClusterFolder() {
  if (!keep_) RemoveContent(*files_, path_, made_);
}

absl::StatusOr<bool> ClusterFolder::RemoveDead(const files::FileSystem* files,
                                               const std::string& path) {
  KS_ASSIGN_OR_RETURN(const std::string whole, Resolve(path));
  KS_ASSIGN_OR_RETURN(const std::string mark, files->ReadFile(whole + kMark, kMaxMarkBytes));
  KS_ASSIGN_OR_RETURN(const files::FileLock lock, files->Lock(whole + kMark));
  if (mark == kToKeep) return true;
  RemoveContent(*files, whole, mark == kMadeHere);
  return false;
}

std::string ClusterFolder::Folder(absl::string_view kind, absl::string_view name) const {
  const std::string folder = absl::StrCat(path_, "/", kind, "/", files::PathSafe(name));
  // Who uses the folder says what is wrong with it.
  MakeFolder(folder).IgnoreError();
  return folder;
}

std::string ClusterFolder::StateFolder(absl::string_view name) const {
  return Folder("state", name);
}

std::string ClusterFolder::TpmFolder(absl::string_view name) const { return Folder("tpm", name); }

std::string ClusterFolder::LogFile(absl::string_view name) const {
  return absl::StrCat(path_, "/logs/", files::PathSafe(name), ".log");
}

absl::StatusOr<identity::CredentialFiles> ClusterFolder::Issue(identity::Kind kind,
                                                               const std::string& name,
                                                               const std::string& ip,
                                                               const identity::Validity& validity) {
  identity::Authority::Request request;
  request.kind = kind;
  request.name = name;
  request.validity = validity;
  if (!ip.empty()) request.ip_addresses.push_back(ip);
  KS_ASSIGN_OR_RETURN(const identity::Credentials credentials, authority_->Issue(request));

  const std::string folder = path_ + "/pki";
  const std::string stem =
      absl::StrCat(std::string(identity::KindName(kind)), "-", files::PathSafe(name));
  // Two at once must not leave the key of one and the certificate of the other.
  sync::MutexLock lock(&issue_mutex_);
  auto files = identity::CredentialFiles::In(folder, stem);
  // A process starts again with its first one.
  for (int i = 2; kind != identity::Kind::kUser; ++i) {
    KS_ASSIGN_OR_RETURN(const bool taken, files_->Exists(files.key));
    if (!taken) break;
    files = identity::CredentialFiles::In(folder, absl::StrCat(stem, "-", i));
  }
  files.ca = folder + "/ca.crt";
  KS_RETURN_IF_ERROR(
      files_->WriteFileAtomically(files.key, credentials.key_pem.view(), 0600, kNotDurable));
  KS_RETURN_IF_ERROR(files_->WriteFileAtomically(files.certificate, credentials.certificate_pem,
                                                 0600, kNotDurable));
  return files;
}

absl::Status ClusterFolder::WriteClusterFile(const sim::v1::SimulatedCluster& cluster) const {
  return files_->WriteFileAtomically(ClusterFile(), ClusterToJson(cluster), 0600, kNotDurable);
}

}  // namespace keysphere::simulator
