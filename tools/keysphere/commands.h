#ifndef KEYSPHERE_TOOLS_KEYSPHERE_COMMANDS_H_
#define KEYSPHERE_TOOLS_KEYSPHERE_COMMANDS_H_

#include "tools/keysphere/command.h"

// The groups of commands, one file each.
namespace keysphere::cli {

void AddLifeCommands(Command* root);             // up, down, status
void AddSimulatorCommands(Command* root);        // clock, process, link
void AddProviderCommands(Command* root);         // provider
void AddKmsProviderCommands(Command* provider);  // provider health, trust, csr, client-cert
void AddKmsCommands(Command* root);              // kms
void AddClusterCommands(Command* root);          // cluster
void AddHostCommands(Command* root);             // host
void AddCoreDumpCommands(Command* host);         // host core-dump, host core-dump-read
void AddVmCommands(Command* root);               // vm
void AddGuestDiskCommands(Command* vm);          // vm read, vm write
void AddEventCommands(Command* root);            // event, alarm, wait
void AddTaskCommands(Command* root);             // task
void AddControllerCommands(Command* root);       // about, stats, option, remediate
void AddAccessCommands(Command* root);           // role, user
void AddPkiCommands(Command* root);              // pki

}  // namespace keysphere::cli

#endif  // KEYSPHERE_TOOLS_KEYSPHERE_COMMANDS_H_
