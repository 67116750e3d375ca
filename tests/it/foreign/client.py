"""A client that knows nothing of hallpass but its address: it learns the contract by reflection, and walks the whole story.

Environment: ADDRESS (host:port), VAULT (its address), ALICE, OLIVIA and AUDREY (their tokens). Prints what it saw, one
line a step, and fails on anything unexpected.
"""

import json
import os
import urllib.request

import grpc
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase
from grpc_status import rpc_status


class Client:
    """Calls methods by their names, with and for plain dictionaries."""

    def __init__(self, address):
        self.channel = grpc.insecure_channel(address)
        database = ProtoReflectionDescriptorDatabase(self.channel)
        self.services = sorted(name for name in database.get_services() if name.startswith("hallpass."))
        self.pool = DescriptorPool(database)

    def call(self, token, method, message):
        service, name = method.split("/")
        described = self.pool.FindServiceByName(f"hallpass.v1.{service}").methods_by_name[name]
        asked, answered = GetMessageClass(described.input_type), GetMessageClass(described.output_type)
        kind = self.channel.unary_stream if described.server_streaming else self.channel.unary_unary
        stub = kind(
            f"/hallpass.v1.{service}/{name}",
            request_serializer=asked.SerializeToString,
            response_deserializer=answered.FromString,
        )
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        answer = stub(ParseDict(message, asked()), metadata=metadata, timeout=60)
        if described.server_streaming:
            return (MessageToDict(one) for one in answer)
        return MessageToDict(answer)

    def refused(self, token, method, message):
        """The code, hallpass's reason and the fields that are wrong, of a call that must not succeed."""
        try:
            self.call(token, method, message)
        except grpc.RpcError as error:
            reason, fields = None, []
            for detail in rpc_status.from_call(error).details:
                info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
                if detail.Unpack(info):
                    assert info.domain == "hallpass", info
                    reason = info.reason
                elif detail.Unpack(bad):
                    fields = [violation.field for violation in bad.field_violations]
            return error.code().name, reason, fields
        raise AssertionError(f"{method} was not refused")


def unwrap(vault, token):
    call = urllib.request.Request(f"{vault}/v1/sys/wrapping/unwrap", method="POST", headers={"X-Vault-Token": token})
    with urllib.request.urlopen(call) as answer:
        return json.load(answer)["data"]


def main():
    alice, olivia, audrey = (os.environ[name] for name in ("ALICE", "OLIVIA", "AUDREY"))
    client = Client(os.environ["ADDRESS"])
    print("services", *(name.removeprefix("hallpass.v1.") for name in client.services))

    print("without a token", *client.refused(None, "TargetService/ListTargets", {})[:2])
    targets = client.call(alice, "TargetService/ListTargets", {})["targets"]
    print("targets", *(target["name"] for target in targets))

    ask = {"target": targets[0]["name"], "duration": "300s", "reason": "order 4711 is stuck"}
    bad = client.refused(alice, "RequestService/SubmitRequest", {**ask, "reason": " ", "duration": "-1s"})
    print("badly asked", *bad[:2], *bad[2])
    request = client.call(alice, "RequestService/SubmitRequest", ask)
    print("asked", request["state"])
    events = client.call(alice, "RequestService/WatchRequests", {"name": request["name"]})
    print("watching", next(events)["request"]["state"])

    decision = {"name": request["name"], "digest": request["digest"], "statement": "read only is enough"}
    print("approved by herself", *client.refused(alice, "RequestService/ApproveRequest", decision)[:2])
    approved = client.call(olivia, "RequestService/ApproveRequest", {**decision, "duration": "120s"})
    print("approved", approved["state"], approved["window"])
    print("watching", next(events)["event"]["kind"], next(events)["event"]["kind"])

    claimed = client.call(alice, "GrantService/ClaimGrant", {"request": request["name"]})
    grant = claimed["grant"]["name"]
    print("claimed", claimed["grant"]["state"])
    credential = unwrap(os.environ["VAULT"], claimed["wrappingToken"])
    print("credential", *sorted(credential))
    print("claimed twice", *client.refused(alice, "GrantService/ClaimGrant", {"request": request["name"]})[:2])

    client.call(alice, "GrantService/ReleaseGrant", {"name": grant})
    kinds = []
    while "GrantRevoked" not in kinds:
        kinds.append(next(events)["event"]["kind"])
    print("watching", *kinds)

    exceptions = client.call(audrey, "ExceptionService/ListExceptions", {"pageSize": 10})["exceptions"]
    mine = [one for one in exceptions if one["request"]["name"] == request["name"]]
    name = mine[0]["name"]
    exception = client.call(audrey, "ExceptionService/GetException", {"name": name})
    print("audited", exception["grants"][0]["state"], exception["timeline"][0]["kind"], exception["timeline"][-1]["kind"])
    print("changed by the auditor", *client.refused(audrey, "GrantService/RevokeGrant", {"name": grant, "reason": "x"})[:2])


main()
