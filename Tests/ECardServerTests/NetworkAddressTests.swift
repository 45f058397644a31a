@testable import ECardServer
import NIOCore
import Testing

@Suite struct NetworkAddressTests {
    @Test(
        "Addresses that are not everybody's",
        arguments: [
            "0.0.0.0", "10.1.2.3", "100.64.0.1", "100.127.255.255", "127.0.0.1", "127.255.255.254", "169.254.169.254",
            "172.16.0.1", "172.31.255.255", "192.0.0.8", "192.0.2.1", "192.88.99.1", "192.168.0.1", "198.18.0.1",
            "198.19.255.255", "198.51.100.7", "203.0.113.9", "224.0.0.1", "239.255.255.255", "240.0.0.1",
            "255.255.255.255", "::", "::1", "::ffff:10.0.0.1", "::ffff:127.0.0.1", "::10.0.0.1", "64:ff9b::a00:1",
            "64:ff9b:1::1", "100::1", "2001::1", "2001:db8::1", "2002:a00:1::1", "2002:7f00:1::1", "3fff::1", "fc00::1",
            "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1",
        ])
    func special(_ text: String) throws {
        #expect(!NetworkAddress(try SocketAddress(ipAddress: text, port: 0)).isPublic)
    }

    @Test(
        "Addresses that are",
        arguments: [
            "1.1.1.1", "8.8.8.8", "100.63.255.255", "100.128.0.1", "126.255.255.255", "128.0.0.1", "169.253.1.1",
            "172.15.255.255", "172.32.0.1", "192.0.1.1", "192.167.1.1", "198.17.1.1", "198.20.0.1", "223.255.255.255",
            "2606:4700::1111", "2001:4860::8888", "2a00::1", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1",
        ])
    func common(_ text: String) throws {
        #expect(NetworkAddress(try SocketAddress(ipAddress: text, port: 0)).isPublic)
    }

    @Test(
        "URLs of webhooks",
        arguments: [
            ("https://example.org/hook", true), ("https://example.org:8443/hook?a=b", true), ("https://8.8.8.8/", true),
            ("https://[2606:4700::1111]/", true), ("http://example.org/", false), ("ftp://example.org/", false),
            ("https://user@example.org/", false), ("https://user:word@example.org/", false),
            ("https://example.org/#part", false), ("https://127.0.0.1/", false), ("https://[::1]/", false),
            ("https://[::ffff:169.254.169.254]/", false), ("https://169.254.169.254/latest/meta-data", false),
            ("https:///path", false), ("https://exa mple.org/", false), ("https://ex_ample.org/", false),
            ("https://ex%61mple.org/", false), ("example.org", false), ("", false),
            ("https://example.org/" + String(repeating: "x", count: 2048), false),
        ])
    func targets(_ url: String, _ isAllowed: Bool) {
        #expect(((try? WebhookTarget(url, allowsPrivate: false)) != nil) == isAllowed, "\(url)")
    }

    @Test(
        "Names and odd spellings that lead to this machine are seen for what they are",
        arguments: ["https://localhost/", "https://2130706433/", "https://0x7f.1/", "https://127.1/"])
    func names(_ url: String) async throws {
        let target = try WebhookTarget(url, allowsPrivate: false)
        await #expect(throws: ServerError.self) { try await target.address() }
        let allowed = try await WebhookTarget(url, allowsPrivate: true).address()
        #expect(["127.0.0.1", "::1"].contains(allowed))
    }
}
