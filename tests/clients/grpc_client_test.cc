// Health checking and reflection as a client meets them that knows nothing of this project.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/status/matchers.h"
#include "tests/clients/command.h"
#include "tests/processes/lab.h"

namespace keysphere::clients {
namespace {

using processes::ControllerProcess;
using processes::Daemon;
using processes::HostProcess;
using processes::Lab;
using status::IsOk;
using ::testing::HasSubstr;
using ::testing::Not;

class GrpcClientTest : public ::testing::Test {
 protected:
  GrpcClientTest() {
    files_ = identity::CredentialFiles::In(lab_.root(), "foreign");
    EXPECT_THAT(lab_.Issue(identity::Kind::kUser, "admin").Write(files_), IsOk());
  }

  // The client's command line for a daemon, which it knows by its DNS name.
  std::vector<std::string> Words(const Daemon& daemon, std::vector<std::string> command) const {
    std::vector<std::string> words = {"/usr/bin/python3",
                                      "tests/clients/grpc_client.py",
                                      "--address",
                                      daemon.address(),
                                      "--name",
                                      daemon.name() + ".keysphere.test",
                                      "--ca",
                                      files_.ca,
                                      "--cert",
                                      files_.certificate,
                                      "--key",
                                      files_.key};
    words.insert(words.end(), command.begin(), command.end());
    return words;
  }
  std::string Ask(const Daemon& daemon, std::vector<std::string> command) const {
    const CommandResult result = RunCommand(Words(daemon, std::move(command)));
    EXPECT_EQ(result.code, 0);
    return result.out;
  }

  Lab lab_;
  identity::CredentialFiles files_;
};

TEST_F(GrpcClientTest, ReflectionShowsTheWholeContractOfAController) {
  ControllerProcess& controller = lab_.AddController("vcenter-a");
  ASSERT_THAT(controller.Start(), IsOk());
  const std::string services = Ask(controller, {"services"});
  for (const char* const service :
       {"Controller", "Access", "KeyProviders", "Clusters", "Hosts", "VirtualMachines", "Tasks",
        "Events", "Alarms", "CryptoManager"}) {
    EXPECT_THAT(services, HasSubstr(std::string("\"keysphere.v1.") + service + "\""));
    // Each can be described, with all that its messages need.
    EXPECT_THAT(Ask(controller, {"files", std::string("keysphere.v1.") + service}),
                HasSubstr("keysphere/v1/"));
  }
  EXPECT_THAT(services, HasSubstr("\"grpc.health.v1.Health\""));
  EXPECT_THAT(services, HasSubstr("\"grpc.reflection.v1alpha.ServerReflection\""));
  const std::string files = Ask(controller, {"files", "keysphere.v1.Vm"});
  EXPECT_THAT(files, HasSubstr("keysphere/v1/inventory.proto"));
  EXPECT_THAT(files, HasSubstr("keysphere/v1/types.proto"));

  // What reflection tells is enough to call: also to be refused.
  EXPECT_THAT(Ask(controller, {"call", "keysphere.v1.Controller/GetAbout", "{}"}),
              HasSubstr("\"name\": \"vcenter-a\""));
  EXPECT_THAT(Ask(controller,
                  {"call", "keysphere.v1.KeyProviders/CreateKeyProvider", "{\"name\": \"nkp\"}"}),
              HasSubstr("\"code\": \"OK\""));
  EXPECT_THAT(Ask(controller,
                  {"call", "keysphere.v1.KeyProviders/CreateKeyProvider", "{\"name\": \"nkp\"}"}),
              HasSubstr("\"code\": \"ALREADY_EXISTS\""));
  // Health checking too.
  EXPECT_THAT(Ask(controller, {"call", "grpc.health.v1.Health/Check", "{}"}),
              HasSubstr("\"status\": \"SERVING\""));
}

TEST_F(GrpcClientTest, HealthIsToldForEachServiceUntilTheDrain) {
  ControllerProcess& controller = lab_.AddController("vcenter-a");
  HostProcess& host = lab_.AddHost({});
  ASSERT_THAT(controller.Start(), IsOk());
  ASSERT_THAT(host.Start(), IsOk());
  struct Served {
    Daemon* daemon;
    std::vector<std::string> services;
  };
  for (const Served& served :
       {Served{&controller, {"keysphere.v1.Hosts", "keysphere.v1.KeyProviders"}},
        Served{&host, {"keysphere.host.v1.HostManagement", "keysphere.host.v1.HostVms"}}}) {
    SCOPED_TRACE(served.daemon->name());
    EXPECT_EQ(Ask(*served.daemon, {"health"}), "\"SERVING\"\n");
    EXPECT_EQ(Ask(*served.daemon, {"health", "none.Such"}), "\"NOT_FOUND\"\n");
    for (const std::string& service : served.services) {
      EXPECT_EQ(Ask(*served.daemon, {"health", service}), "\"SERVING\"\n");
    }
    // Whoever watches hears of the orderly stop before the server goes.
    RunningCommand watch(Words(*served.daemon, {"watch-health", served.services[0]}));
    EXPECT_EQ(watch.NextLine(), "\"SERVING\"");
    EXPECT_EQ(served.daemon->Terminate(), 0);
    EXPECT_EQ(watch.NextLine(), "\"NOT_SERVING\"");
    EXPECT_EQ(watch.NextLine(), "");
    EXPECT_EQ(watch.Wait(), 0);
  }
}

TEST_F(GrpcClientTest, S163_AStrangerIsNotEvenToldWhatIsServed) {
  HostProcess& host = lab_.AddHost({});
  ASSERT_THAT(host.Start(), IsOk());
  const auto other = identity::Authority::Create(
      processes::kTrustDomain, identity::Validity::From(processes::RealClock()->Now()));
  ASSERT_THAT(other, IsOk());
  identity::Authority::Request request;
  request.kind = identity::Kind::kUser;
  request.name = "admin";
  request.validity = identity::Validity::From(processes::RealClock()->Now());
  auto stranger = (*other)->Issue(request);
  ASSERT_THAT(stranger, IsOk());
  stranger->ca_pem = lab_.Issue(identity::Kind::kUser, "admin").ca_pem;  // it trusts the host
  ASSERT_THAT(stranger->Write(files_), IsOk());
  std::vector<std::string> words = Words(host, {"health"});
  words.insert(words.begin() + 2, "--impatient");
  const CommandResult result = RunCommand(std::move(words));
  EXPECT_THAT(result.out, Not(HasSubstr("SERVING\"")));
  EXPECT_TRUE(host.Running());
}

}  // namespace
}  // namespace keysphere::clients
