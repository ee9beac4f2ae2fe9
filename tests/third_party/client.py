"""A client that is not ours: grpcio, with messages built from what the server's reflection tells.

Nothing of the repository is read, only what `keyfob login` left in KEYFOB_HOME.

    client.py rotate    creates a secret with the first line of stdin, rotates it to the second, prints its version
    client.py delete    deletes it
    client.py status ADDRESS SESSION    asks that session's agent how it is, prints its phase
"""

import json
import os
import socket
import ssl
import sys

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

with open(os.path.join(os.environ["KEYFOB_HOME"], "identity.json")) as file:
    LOGIN = json.load(file)
ROOTS, KEY, CHAIN = (LOGIN[part].encode() for part in ("roots", "key", "chain"))

# `not_after` of the file is for its owner's CLI; whether a certificate is good is the server's to say.
MTLS = grpc.ssl_channel_credentials(root_certificates=ROOTS, private_key=KEY, certificate_chain=CHAIN)
NOBODY = grpc.ssl_channel_credentials(root_certificates=ROOTS)


def connect(credentials, options=()):
    return grpc.secure_channel(LOGIN["address"], credentials, options)


class Services:
    """Any call by name: `services("keyfob.v1.UserService/WhoAmI", field=value)`."""

    def __init__(self, channel, pool):
        self.channel, self.pool = channel, pool

    def messages(self, call):
        service, method = call.split("/")
        described = self.pool.FindServiceByName(service).FindMethodByName(method)
        return (message_factory.GetMessageClass(kind) for kind in (described.input_type, described.output_type))

    def __call__(self, call, **fields):
        request, response = self.messages(call)
        invoke = self.channel.unary_unary(f"/{call}", request.SerializeToString, response.FromString)
        return invoke(request(**fields), timeout=20)

    def stream(self, call, **fields):
        request, response = self.messages(call)
        invoke = self.channel.unary_stream(f"/{call}", request.SerializeToString, response.FromString)
        return invoke(request(**fields), timeout=20)


def listed(channel, version):
    """The services that reflection tells of."""
    request, response = reflection_pb2.ServerReflectionRequest, reflection_pb2.ServerReflectionResponse
    path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
    invoke = channel.stream_stream(path, request.SerializeToString, response.FromString)
    replies = invoke(iter([request(list_services="")]), timeout=20)
    return {service.name for reply in replies for service in reply.list_services_response.service}


def refused(code, attempt):
    try:
        attempt()
    except grpc.RpcError as error:
        assert error.code() == code, error
        return error.details()
    raise AssertionError(f"not refused with {code}")


def handshake(name, **limits):
    """TLS as Python's own library speaks it, verifying `name`; gives the version agreed on."""
    context = ssl.create_default_context(cadata=ROOTS.decode())
    context.set_alpn_protocols(["h2"])
    for limit, value in limits.items():
        setattr(context, limit, value)
    host, port = LOGIN["address"].rsplit(":", 1)
    with socket.create_connection((host, port), timeout=20) as tcp:
        with context.wrap_socket(tcp, server_hostname=name) as tls:
            return tls.version()


def not_shaken(error, name, **limits):
    try:
        handshake(name, **limits)
    except error:
        return
    raise AssertionError(f"a handshake with {name} and {limits}")


def transport():
    for name in ("localhost", LOGIN["address"].rsplit(":", 1)[0]):
        assert handshake(name) == "TLSv1.3"
    not_shaken(ssl.SSLCertVerificationError, "elsewhere.example")
    not_shaken(ssl.SSLError, "localhost", maximum_version=ssl.TLSVersion.TLSv1_2)


def described(channel):
    """The pool of descriptors, filled from reflection as they are asked for."""
    for version in ("v1", "v1alpha"):
        assert {"keyfob.v1.SecretService", "grpc.health.v1.Health"} <= listed(channel, version), version
    return descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))


def without_certificate(pool):
    with connect(NOBODY) as channel:
        services = Services(channel, pool)
        assert services("grpc.health.v1.Health/Check").status == 1  # SERVING
        for version in ("v1", "v1alpha"):
            refused(grpc.StatusCode.UNAUTHENTICATED, lambda: listed(channel, version))
        for call in ("UserService/WhoAmI", "SecretService/ListSecrets", "BundleService/Fetch"):
            fields = {"nonce": bytes(16), "public_key": bytes(1216)} if call.endswith("Fetch") else {}
            refused(grpc.StatusCode.UNAUTHENTICATED, lambda: services(f"keyfob.v1.{call}", **fields))
    with connect(MTLS, [("grpc.ssl_target_name_override", "elsewhere.example")]) as channel:
        refused(grpc.StatusCode.UNAVAILABLE, lambda: Services(channel, pool)("keyfob.v1.UserService/WhoAmI"))


def rotate(services):
    first, second = sys.stdin.buffer.read().splitlines()
    secrets = "keyfob.v1.SecretService/"
    me = services("keyfob.v1.UserService/WhoAmI")
    assert (me.organization, me.user.name) == ("acme", "alice"), me

    assert not services(secrets + "ListSecrets").secrets
    new = dict(name="third-party", visibility="VISIBILITY_PRIVATE", value={"plain": first})
    created = services(secrets + "CreateSecret", **new).secret
    assert created.variable == "THIRD_PARTY" and created.owner == "alice" and created.version, created
    refused(grpc.StatusCode.ALREADY_EXISTS, lambda: services(secrets + "CreateSecret", **new))
    page = services(secrets + "ListSecrets", query="THIRD")
    assert [secret.id for secret in page.secrets] == [created.id], page

    change = dict(ref={"id": created.id}, value={"plain": second}, expected_version=created.version)
    rotated = services(secrets + "RotateSecret", **change).secret
    assert rotated.id == created.id and rotated.version != created.version, rotated
    told = refused(grpc.StatusCode.ABORTED, lambda: services(secrets + "RotateSecret", **change))
    assert "changed meanwhile" in told, told
    found = services(secrets + "GetSecret", ref={"name": "third-party"})
    assert [bool(v.replaced_at.seconds) for v in found.versions] == [False, True], found
    print(found.secret.version)


def delete(services):
    secrets = "keyfob.v1.SecretService/"
    found = services(secrets + "GetSecret", ref={"name": "third-party"})
    assert found.deliveries[0].version == found.secret.version and found.deliveries[0].user == "alice", found
    stale = dict(ref={"name": "third-party"}, expected_version="stale")
    refused(grpc.StatusCode.ABORTED, lambda: services(secrets + "DeleteSecret", **stale))
    assert services(secrets + "DeleteSecret", ref={"name": "third-party"}).live_sessions == 1
    refused(grpc.StatusCode.NOT_FOUND, lambda: services(secrets + "GetSecret", ref={"name": "third-party"}))


def status(pool, address, session):
    """An agent knows no reflection: what there is to ask was told by the control plane's."""
    name = [("grpc.ssl_target_name_override", f"{session}.session.keyfob")]
    with grpc.secure_channel(address, MTLS, name) as channel:
        services = Services(channel, pool)
        found = services("keyfob.v1.AgentStatusService/GetStatus").status
        assert found.session == session and found.bundle_version and found.certificate_expires_at.seconds, found
        assert found.names_hidden and found.variables and not any(v.variable or v.name for v in found.variables), found
        first = next(iter(services.stream("keyfob.v1.AgentStatusService/WatchStatus"))).status
        assert first.bundle_version == found.bundle_version, first
        for service in ("", "keyfob.v1.AgentStatusService"):
            assert services("grpc.health.v1.Health/Check", service=service).status == 1  # SERVING
        assert next(iter(services.stream("grpc.health.v1.Health/Watch"))).status == 1
        refused(grpc.StatusCode.NOT_FOUND, lambda: services("grpc.health.v1.Health/Check", service="other"))
        refused(grpc.StatusCode.UNIMPLEMENTED, lambda: services("keyfob.v1.UserService/WhoAmI"))
        print(found.DESCRIPTOR.fields_by_name["phase"].enum_type.values_by_number[found.phase].name)
    # Another agent's name, and the control plane's, are not this one's; nobody without a certificate gets in.
    for options in ([("grpc.ssl_target_name_override", f"{'a' * 26}.session.keyfob")], []):
        with grpc.secure_channel(address, MTLS, options) as channel:
            ask = Services(channel, pool)
            refused(grpc.StatusCode.UNAVAILABLE, lambda: ask("keyfob.v1.AgentStatusService/GetStatus"))
    with grpc.secure_channel(address, NOBODY, name) as channel:
        ask = Services(channel, pool)
        refused(grpc.StatusCode.UNAVAILABLE, lambda: ask("keyfob.v1.AgentStatusService/GetStatus"))


def main(verb, *about):
    transport()
    with connect(MTLS) as channel:
        pool = described(channel)
        if about:
            return verb(pool, *about)
        without_certificate(pool)
        verb(Services(channel, pool))


main({"rotate": rotate, "delete": delete, "status": status}[sys.argv[1]], *sys.argv[2:])
