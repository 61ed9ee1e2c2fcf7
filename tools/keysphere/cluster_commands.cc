#include <memory>
#include <string>

#include "keysphere/v1/inventory.grpc.pb.h"
#include "tools/keysphere/commands.h"
#include "tools/keysphere/session.h"

namespace keysphere::cli {
namespace {

using Clusters = v1::Clusters;
using Stub = Clusters::Stub;

std::string DefaultOf(const v1::Cluster& cluster) {
  return cluster.default_provider_missing() ? cluster.default_provider() + " (deleted)"
                                            : cluster.default_provider();
}

absl::Status ShowCluster(Session* session, const v1::Cluster& cluster) {
  return session->Show(cluster, [session](const v1::Cluster& shown) {
    Fields fields;
    fields.Add("name", shown.name())
        .Add("hosts", Join(shown.hosts()))
        .Add("default provider", DefaultOf(shown))
        .Print(session->out());
  });
}

}  // namespace

void AddClusterCommands(Command* root) {
  Command group = root->Sub("cluster", "Clusters of hosts; encryption works only in a cluster",
                            "cluster create cluster-c");
  {
    auto name = std::make_shared<std::string>();
    Command command = group.Sub("create", "Make a cluster", "cluster create cluster-c");
    command.Argument(name.get(), "NAME", "a name that no cluster of this vCenter has");
    command.Run([name](Session* session) -> absl::Status {
      v1::CreateClusterRequest request;
      request.set_name(*name);
      KS_ASSIGN_OR_RETURN(const v1::Cluster cluster,
                          session->Ask<Clusters>(&Stub::async::CreateCluster, request));
      return ShowCluster(session, cluster);
    });
  }
  {
    Command command = group.Sub("list", "List the clusters of a vCenter", "cluster list");
    command.Run([](Session* session) -> absl::Status {
      v1::ListClustersResponse all;
      do {
        v1::ListClustersRequest request;
        request.set_page_size(1000);
        request.set_page_token(all.next_page_token());
        KS_ASSIGN_OR_RETURN(const v1::ListClustersResponse page,
                            session->Ask<Clusters>(&Stub::async::ListClusters, request));
        all.MergeFrom(page);
        all.set_next_page_token(page.next_page_token());
      } while (!all.next_page_token().empty());
      return session->Show(all, [session](const v1::ListClustersResponse& shown) {
        Table table({"NAME", "DEFAULT PROVIDER", "HOSTS"});
        for (const v1::Cluster& cluster : shown.clusters()) {
          table.Add({cluster.name(), DefaultOf(cluster), Join(cluster.hosts())});
        }
        table.Print(session->out());
      });
    });
  }
  {
    auto name = std::make_shared<std::string>();
    Command command = group.Sub("show", "Show a cluster", "cluster show cluster-a");
    command.Argument(name.get(), "NAME", "the cluster");
    command.Run([name](Session* session) -> absl::Status {
      v1::GetClusterRequest request;
      request.set_name(*name);
      KS_ASSIGN_OR_RETURN(const v1::Cluster cluster,
                          session->Ask<Clusters>(&Stub::async::GetCluster, request));
      return ShowCluster(session, cluster);
    });
  }
  {
    auto name = std::make_shared<std::string>();
    Command command = group.Sub("delete", "Delete an empty cluster", "cluster delete cluster-c");
    command.Argument(name.get(), "NAME", "the cluster");
    command.Run([name](Session* session) -> absl::Status {
      v1::DeleteClusterRequest request;
      request.set_name(*name);
      KS_ASSIGN_OR_RETURN(const v1::DeleteClusterResponse response,
                          session->Ask<Clusters>(&Stub::async::DeleteCluster, request));
      return session->Show(
          response, [&](const v1::DeleteClusterResponse&) { session->Say("deleted ", *name); });
    });
  }
}

}  // namespace keysphere::cli
