"""A gRPC client that has nothing of this project: no generated code, no protos, no verifier.

Like grpcurl it knows an address, the name that it dials and three PEM files, and learns all else
from the server by reflection. It does what its commands say, one JSON object a line:

  services                    the names of the services
  files SYMBOL                the .proto files that define the symbol and what it needs, by name
  call SERVICE/METHOD JSON    a unary call; the answer as the proto's JSON, or the error's code
  health [SERVICE]            the status that grpc.health.v1 tells
  watch-health SERVICE        the same, a line for each change, until the server ends the stream
"""

import argparse
import json
from typing import Any, Iterable, Iterator

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

REFLECTION = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"
HEALTH = "/grpc.health.v1.Health/"
HEALTH_STATUS = {0: "UNKNOWN", 1: "SERVING", 2: "NOT_SERVING", 3: "SERVICE_UNKNOWN"}
SECONDS = 60.0

Field = tuple[int, Any]


def varint(value: int) -> bytes:
    out = b""
    while value > 0x7F:
        out += bytes([value & 0x7F | 0x80])
        value >>= 7
    return out + bytes([value])


def text_field(number: int, text: str) -> bytes:
    data = text.encode()
    return varint(number << 3 | 2) + varint(len(data)) + data


def read_fields(data: bytes) -> Iterator[Field]:
    """The fields of a message whose type is not known: numbers, and bytes for what has a length."""
    at = 0

    def number() -> int:
        nonlocal at
        value = shift = 0
        while True:
            byte = data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                return value
            shift += 7

    while at < len(data):
        tag = number()
        if tag & 7 == 0:
            yield tag >> 3, number()
        elif tag & 7 == 2:
            size = number()
            yield tag >> 3, data[at : at + size]
            at += size
        else:
            raise ValueError(f"unexpected wire type {tag & 7}")


def of(data: bytes, wanted: int) -> list[Any]:
    return [value for number, value in read_fields(data) if number == wanted]


class Client:
    def __init__(self, channel: grpc.Channel, patient: bool) -> None:
        self.channel = channel
        self.patient = patient  # waits for a server that does not answer yet
        self.pool = descriptor_pool.DescriptorPool()
        self.files: dict[str, descriptor_pb2.FileDescriptorProto] = {}

    def reflect(self, request: bytes) -> bytes:
        stub = self.channel.stream_stream(REFLECTION)
        answers = list(stub(iter([request]), timeout=SECONDS, wait_for_ready=self.patient))
        for error in of(answers[0], 7):
            raise LookupError(b"".join(of(error, 2)).decode())
        return bytes(answers[0])

    def services(self) -> list[str]:
        lists = of(self.reflect(text_field(7, "")), 6)
        return [name.decode() for one in lists for entry in of(one, 1) for name in of(entry, 1)]

    def load(self, symbol: str) -> None:
        """Adds the file of a symbol, and those that it imports, to the pool."""
        self.take(self.reflect(text_field(4, symbol)))

    def take(self, answer: bytes) -> None:
        for response in of(answer, 4):
            for data in of(response, 1):
                file = descriptor_pb2.FileDescriptorProto.FromString(data)
                self.files.setdefault(file.name, file)
        for file in list(self.files.values()):
            for imported in file.dependency:
                if imported not in self.files:
                    self.take(self.reflect(text_field(3, imported)))

    def build(self) -> None:
        added: set[str] = set()

        def add(name: str) -> None:
            if name in added:
                return
            added.add(name)
            for imported in self.files[name].dependency:
                add(imported)
            self.pool.Add(self.files[name])

        for name in self.files:
            add(name)

    def call(self, method: str, body: str) -> dict[str, Any]:
        service, name = method.split("/")
        self.load(service)
        self.build()
        rpc = self.pool.FindServiceByName(service).methods_by_name[name]
        factory = message_factory.MessageFactory(self.pool)
        request = json_format.Parse(
            body, factory.GetPrototype(rpc.input_type)(), descriptor_pool=self.pool
        )
        stub = self.channel.unary_unary("/" + method)
        try:
            data = stub(request.SerializeToString(), timeout=SECONDS, wait_for_ready=self.patient)
        except grpc.RpcError as error:
            return {"code": error.code().name, "message": error.details()}
        answer = factory.GetPrototype(rpc.output_type).FromString(data)
        return {"code": "OK", "answer": json_format.MessageToDict(answer, descriptor_pool=self.pool)}

    def health(self, service: str) -> str:
        stub = self.channel.unary_unary(HEALTH + "Check")
        try:
            data = stub(text_field(1, service), timeout=SECONDS, wait_for_ready=self.patient)
        except grpc.RpcError as error:
            return str(error.code().name)
        return HEALTH_STATUS[(of(data, 1) or [0])[0]]

    def watch_health(self, service: str) -> Iterator[str]:
        stub = self.channel.unary_stream(HEALTH + "Watch")
        try:
            for data in stub(text_field(1, service), timeout=SECONDS, wait_for_ready=self.patient):
                yield HEALTH_STATUS[(of(data, 1) or [0])[0]]
        except grpc.RpcError:
            return


def run(client: Client, words: list[str]) -> Iterable[Any]:
    command, rest = words[0], words[1:]
    if command == "services":
        yield client.services()
    elif command == "files":
        client.load(rest[0])
        yield sorted(client.files)
    elif command == "call":
        yield client.call(rest[0], rest[1])
    elif command == "health":
        yield client.health(rest[0] if rest else "")
    elif command == "watch-health":
        yield from client.watch_health(rest[0])
    else:
        raise ValueError(f"no command {command}")


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--address", required=True, help="IP:PORT")
    parser.add_argument("--name", required=True, help="the host name that is dialled")
    parser.add_argument("--ca", required=True)
    parser.add_argument("--cert", required=True)
    parser.add_argument("--key", required=True)
    parser.add_argument("--impatient", action="store_true", help="fail where nobody answers")
    parser.add_argument("command", nargs="+")
    args = parser.parse_args()

    def read(path: str) -> bytes:
        with open(path, "rb") as file:
            return file.read()

    credentials = grpc.ssl_channel_credentials(read(args.ca), read(args.key), read(args.cert))
    options = [
        ("grpc.ssl_target_name_override", args.name),
        ("grpc.default_authority", args.name),
        ("grpc.enable_http_proxy", 0),
    ]
    with grpc.secure_channel(args.address, credentials, options) as channel:
        for line in run(Client(channel, not args.impatient), args.command):
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
