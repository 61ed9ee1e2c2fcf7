#include "common/identity/identity.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <string>

#include "common/identity/authority.h"
#include "common/identity/certificate.h"
#include "common/identity/credentials.h"
#include "common/status/status.h"

namespace keysphere::identity {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

const absl::Time kNow = absl::FromUnixSeconds(1'800'000'000);

std::unique_ptr<Authority> NewAuthority(const std::string& domain = "lab.example") {
  return Authority::Create(domain, Validity::From(kNow)).value();
}

Credentials Issue(const Authority& authority, const std::string& name,
                  Validity validity = Validity::From(kNow)) {
  Authority::Request request;
  request.kind = Kind::kHost;
  request.name = name;
  request.validity = validity;
  return authority.Issue(request).value();
}

TEST(IdentityTest, UriReadsBack) {
  for (const std::string name : {"esx-1", "a b/c%d", "\xc3\xa9t\xc3\xa9", "UPPER.case_~"}) {
    const Identity identity = Identity::Create("lab.example", Kind::kHost, name).value();
    const absl::StatusOr<Identity> read = Identity::Parse(identity.ToUri());
    ASSERT_TRUE(read.ok()) << status::ToString(read.status());
    EXPECT_EQ(*read, identity);
  }
  EXPECT_EQ(Identity::Create("d", Kind::kController, "a/b").value().ToUri(),
            "spiffe://d/controller/a%2Fb");
  for (const Kind kind : {Kind::kController, Kind::kHost, Kind::kUser, Kind::kKms}) {
    EXPECT_EQ(Identity::Parse(Identity{"d", kind, "a"}.ToUri()).value().kind, kind);
  }
}

TEST(IdentityTest, OtherUrisAreRefused) {
  for (const std::string uri :
       {"", "spiffe://", "spiffe://d", "spiffe://d/host", "spiffe://d/host/", "spiffe:///host/a",
        "spiffe://d/vm/a", "spiffe://d/host/a/b", "spiffe://D/host/a", "https://d/host/a",
        "spiffe://d/host/%41", "spiffe://d/host/%2f", "spiffe://d/host/%0A",
        "spiffe://d/host/a%2"}) {
    EXPECT_EQ(status::ReasonOf(Identity::Parse(uri).status()), v1::REASON_CERT_UNTRUSTED) << uri;
  }
}

TEST(IdentityTest, NamesOutOfRangeAreRefused) {
  for (const std::string& name : {std::string(), std::string(81, 'a'), std::string("a\nb")}) {
    EXPECT_EQ(status::ReasonOf(Identity::Create("d", Kind::kUser, name).status()),
              v1::REASON_INVALID_NAME);
  }
  EXPECT_TRUE(Identity::Create("d", Kind::kUser, std::string(80, 'a')).ok());
  EXPECT_FALSE(Identity::Create("D", Kind::kUser, "a").ok());
}

TEST(IdentityTest, DnsNameIsAHostName) {
  const auto dns = [](const std::string& name) {
    return Identity{"d", Kind::kController, name}.DnsName();
  };
  EXPECT_EQ(dns("vcenter-a"), "vcenter-a.keysphere.test");
  EXPECT_EQ(dns("VCenter A.1"), "vcenter-a-1.keysphere.test");
  EXPECT_EQ(dns("///"), "x.keysphere.test");
  EXPECT_EQ(dns(std::string(80, 'a')), std::string(63, 'a') + ".keysphere.test");
}

TEST(AuthorityTest, CertificateSaysWhoItIs) {
  const auto authority = NewAuthority();
  Authority::Request request;
  request.kind = Kind::kController;
  request.name = "vcenter-a";
  request.validity = Validity::From(kNow);
  request.ip_addresses = {"127.3.0.1", "::1"};
  request.dns_names = {"vc.example.org"};

  const Credentials credentials = authority->Issue(request).value();

  const absl::StatusOr<CertificateInfo> info = ReadCertificate(credentials.certificate_pem);
  ASSERT_TRUE(info.ok()) << status::ToString(info.status());
  EXPECT_EQ(info->identity.ToUri(), "spiffe://lab.example/controller/vcenter-a");
  EXPECT_THAT(info->dns_names, ElementsAre("vcenter-a.keysphere.test", "vc.example.org"));
  EXPECT_THAT(info->ip_addresses, ElementsAre("127.3.0.1", "::1"));
  EXPECT_EQ(info->not_before, request.validity.not_before);
  EXPECT_EQ(info->not_after, request.validity.not_after);
  EXPECT_EQ(info->serial.size(), 32);
}

TEST(AuthorityTest, AnAuthorityIsReadThoughItIsNobody) {
  const auto authority = NewAuthority();
  const Credentials credentials = Issue(*authority, "vcenter-a");
  EXPECT_EQ(status::ReasonOf(ReadCertificate(credentials.ca_pem).status()),
            v1::REASON_CERT_UNTRUSTED);
  const absl::StatusOr<CertificateInfo> info = ReadAnyCertificate(credentials.ca_pem);
  ASSERT_TRUE(info.ok()) << status::ToString(info.status());
  EXPECT_NE(info->subject, "");
  EXPECT_EQ(info->issuer, info->subject);
  EXPECT_THAT(info->uris, ElementsAre("spiffe://lab.example"));
  EXPECT_EQ(ReadAnyCertificate(credentials.certificate_pem)->issuer, info->subject);
}

TEST(AuthorityTest, BadRequestsAreRefused) {
  const auto authority = NewAuthority();
  Authority::Request request;
  request.validity = Validity::From(kNow);
  request.name = "";
  EXPECT_EQ(status::ReasonOf(authority->Issue(request).status()), v1::REASON_INVALID_NAME);
  request.name = "a";
  request.ip_addresses = {"127.0.0.1,DNS:evil"};
  EXPECT_EQ(status::ReasonOf(authority->Issue(request).status()), v1::REASON_INVALID_ARGUMENT);
  request.ip_addresses = {};
  request.dns_names = {"a,URI:spiffe://lab.example/user/root"};
  EXPECT_EQ(status::ReasonOf(authority->Issue(request).status()), v1::REASON_INVALID_ARGUMENT);
}

TEST(CertificateTest, S163_UnknownAuthorityIsUntrusted) {
  const auto authority = NewAuthority();
  const auto other = NewAuthority();  // the same names, another key
  const Credentials credentials = Issue(*authority, "esx-1");
  const auto checked =
      CheckCertificate(credentials.certificate_pem, authority->certificate_pem(), kNow);
  ASSERT_TRUE(checked.ok());
  EXPECT_EQ(checked->identity.name, "esx-1");
  EXPECT_EQ(
      status::ReasonOf(
          CheckCertificate(credentials.certificate_pem, other->certificate_pem(), kNow).status()),
      v1::REASON_CERT_UNTRUSTED);
  EXPECT_EQ(status::ReasonOf(CheckCertificate("junk", authority->certificate_pem(), kNow).status()),
            v1::REASON_CERT_UNTRUSTED);
}

TEST(CertificateTest, ValidityIsCheckedAtTheGivenTime) {
  const auto authority = NewAuthority();
  const Credentials credentials = Issue(*authority, "esx-1", Validity{kNow, kNow + absl::Hours(1)});
  const auto check = [&](absl::Time now) {
    return CheckCertificate(credentials.certificate_pem, authority->certificate_pem(), now)
        .status();
  };
  EXPECT_TRUE(check(kNow + absl::Minutes(59)).ok());
  EXPECT_EQ(status::ReasonOf(check(kNow + absl::Minutes(61))), v1::REASON_CERT_EXPIRED);
  EXPECT_EQ(status::ReasonOf(check(kNow - absl::Minutes(1))), v1::REASON_CERT_EXPIRED);

  const CertificateInfo info = ReadCertificate(credentials.certificate_pem).value();
  EXPECT_TRUE(CheckValidity(info, kNow + absl::Minutes(59)).ok());
  EXPECT_EQ(status::ReasonOf(CheckValidity(info, kNow + absl::Minutes(61))),
            v1::REASON_CERT_EXPIRED);
}

TEST(CertificateTest, ServesTwentyYears) {
  const auto authority = NewAuthority();
  const Credentials credentials = Issue(*authority, "esx-1");
  EXPECT_TRUE(CheckCertificate(credentials.certificate_pem, authority->certificate_pem(),
                               kNow + absl::Hours(24) * 365 * 20 - absl::Hours(1))
                  .ok());
}

TEST(CredentialsTest, FilesReadBackAndAreTheOwnersAlone) {
  const auto authority = NewAuthority();
  const std::string dir = ::testing::TempDir();
  ASSERT_TRUE(authority->Write(dir).ok());
  const Credentials issued = Issue(*authority, "esx-1");
  const CredentialFiles files = CredentialFiles::In(dir, "esx-1");
  ASSERT_TRUE(issued.Write(files).ok());

  for (const std::string& path : {files.key, dir + "/ca.key"}) {
    struct stat info = {};
    ASSERT_EQ(stat(path.c_str(), &info), 0);
    EXPECT_EQ(info.st_mode & 0777, 0600);
  }
  const absl::StatusOr<Credentials> loaded = Credentials::Load(files);
  ASSERT_TRUE(loaded.ok()) << status::ToString(loaded.status());
  EXPECT_EQ(loaded->certificate_pem, issued.certificate_pem);
  EXPECT_EQ(loaded->key_pem.view(), issued.key_pem.view());

  const auto again = Authority::Load(dir);
  ASSERT_TRUE(again.ok()) << status::ToString(again.status());
  EXPECT_EQ((*again)->trust_domain(), "lab.example");
  EXPECT_TRUE(
      CheckCertificate(Issue(**again, "esx-2").certificate_pem, authority->certificate_pem(), kNow)
          .ok());
}

TEST(CredentialsTest, DamageIsToldWithoutTheKey) {
  const auto authority = NewAuthority();
  const std::string dir = ::testing::TempDir();
  const CredentialFiles files = CredentialFiles::In(dir, "broken");
  EXPECT_EQ(status::ReasonOf(Credentials::Load(files).status()), v1::REASON_NOT_FOUND);

  Credentials mixed = Issue(*authority, "esx-1");
  mixed.key_pem = std::move(Issue(*authority, "esx-2").key_pem);
  ASSERT_TRUE(mixed.Write(files).ok());
  const absl::Status refused = Credentials::Load(files).status();
  EXPECT_EQ(status::ReasonOf(refused), v1::REASON_CERT_UNTRUSTED);
  EXPECT_THAT(status::ToString(refused), Not(HasSubstr("PRIVATE")));

  ASSERT_TRUE(WritePemFile(files.key, "-----BEGIN PRIVATE KEY-----\nAAAA\n").ok());
  EXPECT_EQ(status::ReasonOf(Credentials::Load(files).status()), v1::REASON_CERT_UNTRUSTED);
}

TEST(CredentialsTest, AKeyIsNotAnAuthority) {
  const auto authority = NewAuthority();
  const std::string dir = ::testing::TempDir() + "/leaf";
  ASSERT_EQ(mkdir(dir.c_str(), 0700), 0);
  Credentials leaf = Issue(*authority, "esx-1");
  ASSERT_TRUE(leaf.Write(CredentialFiles{dir + "/x.crt", dir + "/ca.crt", dir + "/ca.key"}).ok());
  EXPECT_EQ(status::ReasonOf(Authority::Load(dir).status()), v1::REASON_CERT_UNTRUSTED);
}

}  // namespace
}  // namespace keysphere::identity
