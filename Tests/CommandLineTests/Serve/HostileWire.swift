/// Clients in Python that write what no client would, for `ecard serve` at `sys.argv[1]`, the process `sys.argv[2]`.
enum HostileWire {
    /// What both scripts begin with.
    static let prologue = #"""
        import asyncio, os, re, sys
        port, process = int(sys.argv[1]), sys.argv[2]

        def open_files(): return len(os.listdir(f"/proc/{process}/fd"))
        def megabytes(): return int(re.search(r"VmRSS:\s+(\d+)", open(f"/proc/{process}/status").read()).group(1)) // 1024
        def request(method, path, headers=(), body=b""):
            lines = [f"{method} {path} HTTP/1.1", "host: x", *headers]
            return ("\r\n".join(lines) + "\r\n\r\n").encode() + body
        def post(path, body, *headers):
            return request("POST", path, [*headers, f"content-length: {len(body)}"], body)

        """#

    /// Sends requests that are wrong, each over its own connection, and one that is right behind each. Prints a line each: what,
    /// what was answered (0: the connection was closed without an answer), and `then` with what the right one got.
    static let wrongRequests =
        prologue + #"""
            key = "authorization: Bearer " + open("key").read().strip()
            json = "content-type: application/json"
            paths = {"/v1/payments": ["DELETE", "PUT", "PATCH", "OPTIONS", "TRACE"], "/healthz": ["POST", "DELETE"],
                     "/ussd/africastalking": ["GET", "PUT"], "/v1/payments/pay_0/cancel": ["GET", "DELETE"]}
            cases = [(405, f"{method} {path}", request(method, path, [key, "content-length: 0"]))
                     for path, methods in paths.items() for method in methods]
            cases += [(415, f"content type {kind}", post("/v1/payments", b"{}", key, *([f"content-type: {kind}"] if kind else [])))
                      for kind in ["", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
                                   "application/json-patch+json", "application"]]
            cases += [(400, f"body {body[:12]!r}", post("/v1/payments", body, key, json))
                      for body in [b"", b"{", b"[]", b"null", b"1", b'"x"', b"{}", b"{}{}", b"[" * 10000, b'{"a":' * 3000, b"\xff\xfe{}",
                                   b"\x00", b'{"amount": 1e400}', b'{"amount": 1, "amount": 1}', b'{"amount": "1"}', b"\xef\xbb\xbf{}"]]
            cases += [
                (413, "a body of a megabyte", request("POST", "/v1/payments", [key, json, "content-length: 1000000"], b"x" * 20000)),
                (413, "chunks without end", request("POST", "/v1/payments", [key, json, "transfer-encoding: chunked"],
                                                    b"1000\r\n" + b"x" * 4096 + b"\r\n") + b"1000\r\n" + b"x" * 4096 + b"\r\n"
                 + b"1000\r\n" + b"x" * 4096 + b"\r\n" + b"1000\r\n" + b"x" * 4096 + b"\r\n" + b"1000\r\n" + b"x" * 4096 + b"\r\n"),
                (431, "a field of 20,000", request("GET", "/healthz", ["a: " + "x" * 20000])),
                (431, "200 fields", request("GET", "/healthz", [f"a{n}: b" for n in range(200)])),
                (431, "a path of 100,000", request("GET", "/" + "x" * 100000)),
                (400, "no HTTP", b"hello\r\n\r\n"), (400, "TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 64),
                (400, "HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"), (505, "HTTP/9.9", b"GET / HTTP/9.9\r\n\r\n"),
                (400, "no method", request("FOO", "/healthz")), (400, "NUL in the path", request("GET", "/heal\x00thz")),
                (400, "NUL in a field", request("GET", "/healthz", ["a: b\x00c"])),
                (400, "a length that is none", request("POST", "/v1/payments", [key, json, "content-length: ten"])),
                (400, "a negative length", request("POST", "/v1/payments", [key, json, "content-length: -1"])),
                (400, "two lengths", request("POST", "/v1/payments", [key, json, "content-length: 2", "content-length: 3"], b"{}x")),
                (400, "length and chunks", request("POST", "/v1/payments",
                                                   [key, json, "content-length: 3", "transfer-encoding: chunked"], b"0\r\n\r\n")),
                (400, "another coding", request("POST", "/v1/payments", [key, json, "transfer-encoding: gzip"], b"x")),
                (400, "a chunk that is none", request("POST", "/v1/payments", [key, json, "transfer-encoding: chunked"], b"zz\r\n")),
                (400, "a line without a colon", request("GET", "/healthz", ["broken field"])),
                (400, "a blank before the colon", request("GET", "/healthz", ["a : b"])),
                (400, "no Host", b"GET /healthz HTTP/1.1\r\n\r\n"), (400, "an empty Host", b"GET /healthz HTTP/1.1\r\nhost:\r\n\r\n"),
                (400, "two Hosts", request("GET", "/healthz", ["host: y"])),
                *((400, f"Host {host}", f"GET /healthz HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
                  for host in ["a b", "a/b", "a@b", "a:b", "a?b", "[::1", "[]", ":80", "[::1]x", "\xe9"]),
                *((200, f"Host {host}", f"GET /healthz HTTP/1.1\r\nhost: {host}\r\n\r\n".encode())
                  for host in ["x", "shop.example", "a_b:8080", "[::1]:80", "[fe80::1%25eth0]", "127.0.0.1:", "xn--bcher-kva.example"]),
                (400, "a folded field", b"GET /healthz HTTP/1.1\r\nhost: x\r\na: b\r\n c\r\n\r\n"),
            ]

            async def answer(text):
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                try:
                    writer.write(text)
                    writer.write_eof()
                    said = await asyncio.wait_for(reader.read(), 60)
                except (ConnectionError, asyncio.TimeoutError):
                    said = b""
                writer.close()
                return said

            async def main():
                for wanted, what, text in cases:
                    said = await answer(text)
                    status = int(said[9:12]) if said.startswith(b"HTTP/1.1 ") else 0
                    typed = b'{"error":{"code":"' in said or wanted == 200
                    echo = b"x" * 100 in said
                    then = (await answer(request("GET", "/healthz")))[9:12].decode()
                    print(f"{'right' if status == wanted and typed and not echo and then == '200' else 'wrong'} {what}: {status} {said[:200]!r} {then}")
                # Twenty requests at once are answered in their order; what comes behind a broken one is not.
                said = await answer(b"".join(request("GET", f"/v1/payments/{n}") if n % 2 else request("GET", "/healthz") for n in range(20)))
                print("pipelined", re.findall(rb"HTTP/1.1 (\d+)", said) == [b"200", b"401"] * 10)
                said = await answer(request("GET", "/healthz") + b"broken\r\n\r\n" + request("GET", "/healthz"))
                print("broken behind", re.findall(rb"HTTP/1.1 (\d+)", said) == [b"200", b"400"])

            asyncio.run(main())
            """#

    /// Sixty connections of each kind that never end by themselves. Ends when the server has closed all of them, and prints
    /// how many there were, the server's open files before and after, and by how many megabytes it grew.
    static let crowd =
        prologue + #"""
            SIXTY = 60

            def head(n): return b"GET /healthz HTTP/1.1\r\n", b"x"
            def body(n): return request("POST", "/v1/payments", ["content-type: application/json", "content-length: 1000"]), b"x"
            def silent(n): return b"", b""
            def broken(n): return b"broken\r\n\r\n", b""
            def kept(n): return request("GET", "/healthz"), b""
            def untaken(n): return request("GET", "/openapi.yaml") * 2000, b""
            def endless(n): return request("POST", "/v1/payments", ["transfer-encoding: chunked"]), b"1000\r\n" + b"x" * 4096 + b"\r\n"

            class Client(asyncio.Protocol):
                def __init__(self, first, drip, takes): self.first, self.drip, self.takes = first, drip, takes
                def connection_made(self, transport):
                    self.transport = transport
                    if not self.takes: transport.pause_reading()
                    transport.write(self.first)
                # The server's end of the connection is no reason to end this one.
                def eof_received(self): return True

            async def main():
                loop = asyncio.get_running_loop()
                before, start = open_files(), megabytes()
                clients, most, widest = [], start, 0
                for kind in (head, body, silent, broken, kept, untaken, endless):
                    for n in range(SIXTY):
                        first, drip = kind(n)
                        clients.append((await loop.create_connection(
                            lambda: Client(first, drip, kind is not untaken), "127.0.0.1", port))[1])
                print("opened", len(clients), flush=True)
                # The shop and the holders beside have connections, too.
                while open_files() > before + 24 or widest < 2 * SIXTY:
                    most, widest = max(most, megabytes()), max(widest, open_files() - before)
                    for client in clients:
                        if client.drip and not client.transport.is_closing(): client.transport.write(client.drip)
                    await asyncio.sleep(0.2)
                print("grew", most - start)
                print("closed by the server")

            asyncio.run(main())
            """#

    /// More silent connections than the server may have files. Prints whether it answers when they have gone.
    static let flood =
        prologue + #"""
            async def connect():
                try:
                    return (await asyncio.wait_for(asyncio.open_connection("127.0.0.1", port), 5))[1]
                except (OSError, asyncio.TimeoutError):
                    return None

            async def main():
                writers = [writer for writer in await asyncio.gather(*(connect() for _ in range(700))) if writer]
                print("opened", len(writers) > 400)
                while open_files() < 150: await asyncio.sleep(0.05)
                for writer in writers: writer.close()
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.write(request("GET", "/readyz", ["connection: close"]))
                print("ready", (await reader.read())[9:12].decode())

            asyncio.run(main())
            """#
}
