// A device that has TVM's runtime, no Python, and no compiler: a server of TVM's RPC protocol, as
// TVM's own C++ server, tvm_rpc, is.
//
//     native_server KEY [TRACKER_PORT]
//
// It prints its port, on loopback, and serves one session after another, each in a process and a
// folder of its own, below the current folder. It ends with the process that started it.

#include <arpa/inet.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <tvm/ffi/extra/module.h>
#include <tvm/ffi/function.h>
#include <tvm/ffi/reflection/registry.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <random>
#include <stdexcept>
#include <string>

namespace fs = std::filesystem;
using std::string;
using std::to_string;
using tvm::ffi::Function;
using tvm::ffi::Module;

// The protocol's numbers, as in tvm/rpc/base.py.
constexpr int kMagic = 0xFF271, kMismatch = kMagic + 2, kTrackerMagic = 0x2F271;
constexpr int kPut = 3, kUpdateInfo = 5;

struct Session {
  int connection;
  unsigned timeout_s;  // 0 if there is none
};

void Check(bool holds, const string& otherwise) {
  if (!holds) throw std::runtime_error(otherwise);
}

void SendNumber(int peer, int number) {
  Check(send(peer, &number, sizeof(int), MSG_NOSIGNAL) == sizeof(int), "cannot send");
}

int ReceiveNumber(int peer) {
  int number;
  Check(recv(peer, &number, sizeof(int), MSG_WAITALL) == sizeof(int), "cannot receive");
  return number;
}

void SendText(int peer, const string& text) {
  SendNumber(peer, text.size());
  Check(send(peer, text.data(), text.size(), MSG_NOSIGNAL) == ssize_t(text.size()), "cannot send");
}

string ReceiveText(int peer) {
  string text(ReceiveNumber(peer), '\0');
  ssize_t size = recv(peer, text.data(), text.size(), MSG_WAITALL);
  Check(size == ssize_t(text.size()), "cannot receive");
  return text;
}

// Applies bind, connect, or getsockname to a port on loopback, and returns the port.
template <typename Apply>
int AtPort(int port, Apply apply) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  address.sin_port = htons(port);
  socklen_t size = sizeof(address);
  Check(apply(reinterpret_cast<sockaddr*>(&address), &size) == 0, "no socket at this port");
  return ntohs(address.sin_port);
}

void AskTracker(int tracker, const string& request) {
  SendText(tracker, request);
  Check(ReceiveText(tracker) == "0", "the tracker refused " + request);
}

int JoinTracker(int tracker_port, const string& key, const string& port) {
  int tracker = socket(AF_INET, SOCK_STREAM, 0);
  AtPort(tracker_port, [&](auto at, auto size) { return connect(tracker, at, *size); });
  SendNumber(tracker, kTrackerMagic);
  Check(ReceiveNumber(tracker) == kTrackerMagic, "not a tracker");
  AskTracker(tracker, "[" + to_string(kUpdateInfo) + R"(, {"key": "server:)" + key +
                          R"(", "addr": [null, )" + port + "]}]");
  return tracker;
}

// Returns the key that the tracker gives to the client.
string OfferSession(int tracker, const string& key, const string& port) {
  string client_key = key + ":" + to_string(std::random_device()());
  AskTracker(tracker, "[" + to_string(kPut) + R"(, ")" + key + R"(", [)" + port + R"(, ")" +
                          client_key + R"("], null])");
  return client_key;
}

Session Greet(int connection, const string& key, const string& client_key) {
  Check(ReceiveNumber(connection) == kMagic, "not a client");
  const string greeting = ReceiveText(connection), option = " -timeout=";
  bool has_key = greeting.substr(0, greeting.find(' ')) == "client:" + client_key;
  SendNumber(connection, has_key ? kMagic : kMismatch);
  Check(has_key, "another key: " + greeting);
  SendText(connection, "server:" + key);
  size_t at = greeting.find(option);
  if (at == string::npos) return {connection, 0};
  return {connection, unsigned(std::stoul(greeting.substr(at + option.size())))};
}

// Waits for a client that has the key.
Session Accept(int listener, const string& key, const string& client_key) {
  while (true) {
    int connection = accept(listener, nullptr, nullptr);
    try {
      return Greet(connection, key, client_key);
    } catch (const std::exception& error) {
      std::fprintf(stderr, "refused: %s\n", error.what());
      close(connection);
    }
  }
}

// Runs a session in this process. As with tvm_rpc, the connection closes when its time is over.
void Run(const Session& session, const fs::path& folder) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  alarm(session.timeout_s);
  // The functions that upload, download, and remove files are in TVM's runtime.
  auto path_of = [folder](const string& name) { return (folder / name).string(); };
  auto load = [path_of](const string& name) { return Module::LoadFromFile(path_of(name)); };
  tvm::ffi::reflection::GlobalDef()
      .def("tvm.rpc.server.workpath", path_of)
      .def("tvm.rpc.server.load_module", load);
  Function::GetGlobalRequired("rpc.ServerLoop")(session.connection);
}

void Serve(const Session& session) {
  string folder = fs::current_path() / "session-XXXXXX";
  Check(mkdtemp(folder.data()) != nullptr, "cannot make a folder");
  if (fork() == 0) {
    Run(session, folder);
    _exit(0);
  }
  wait(nullptr);
  close(session.connection);
  fs::remove_all(folder);
}

int main(int argc, char** argv) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const string key = argv[1];
  int listener = socket(AF_INET, SOCK_STREAM, 0);
  AtPort(0, [&](auto at, auto size) { return bind(listener, at, *size); });
  listen(listener, 8);
  const string port =
      to_string(AtPort(0, [&](auto at, auto size) { return getsockname(listener, at, size); }));
  int tracker = argc > 2 ? JoinTracker(std::atoi(argv[2]), key, port) : -1;
  std::puts(port.c_str());
  std::fflush(stdout);
  while (true) {
    const string client_key = tracker < 0 ? key : OfferSession(tracker, key, port);
    Serve(Accept(listener, key, client_key));
  }
}
