import ECardTesting
import Foundation
import Synchronization
import Testing

/// HTTP that is malformed, too long, slow, never taken or never ended, before the real `ecard serve`: it is refused or cut off,
/// in bounded memory and connections, and other clients are served meanwhile.
@Suite struct ServeWireTests {
    private static let start = #"""
        set -euo pipefail
        umask 077
        ecard bank init >&2
        merchant=$(ecard merchant add --name "Makola Books" --registration CS-1)
        ecard merchant key $merchant --key-fd 3 3>key >&2
        echo 0123456789abcdef0123456789abcdef >$ECARD_HOME/at.secret
        printf 'server:\n  ussd:\n    africastalking:\n      secret-file: at.secret\n' >>$ECARD_HOME/ecard.yaml
        serve() {
            (ulimit -n $1; exec ecard serve --port 0 --json >listening 2>log) & server=$!
            until grep -q '^}' listening; do kill -0 $server || { cat log >&2; exit 9; }; read -t 0.05 <> <(:) || true; done
            port=$(grep -o 'http[^"]*' listening); port=${port##*:}
        }
        end() { kill -TERM $server; wait $server && echo "ended $?"; }

        """#

    @Test(
        "What is no request that is served is refused by its own status, tells nothing of itself, and disturbs nobody")
    func refused() async throws {
        let issuer = try await Issuer()
        let outcome = try await issuer.run(
            Self.start + #"""
                serve $(ulimit -Hn)
                python3 -c "$CLIENT" $port $server
                end
                """#, environment: ["CLIENT": HostileWire.wrongRequests])
        expect(outcome, exits: 0)
        let lines = outcome.out.split(separator: "\n")
        #expect(lines.count { $0.hasPrefix("right ") } > 40, "\(outcome)")
        #expect(lines.filter { $0.hasPrefix("wrong ") } == [])
        for line in ["pipelined True", "broken behind True", "ended 0"] {
            #expect(lines.contains { $0 == line }, "\(line): \(outcome)")
        }
        let log = issuer.text("log")
        #expect(log.contains("status=413") && !log.contains("xxxx") && !log.contains(issuer.text("key")))
    }

    @Test("None of the server's threads interrupts another when it wakes")
    func threads() async throws {
        // The policy is the 41st field (proc_pid_stat(5)), and the second one may hold blanks; 3 is SCHED_BATCH.
        let outcome = try await Issuer().run(
            Self.start + #"""
                serve $(ulimit -Hn)
                python3 -c 'import sys, urllib.request as u; u.urlopen(sys.argv[1])' http://127.0.0.1:$port/healthz
                for thread in /proc/$server/task/*/stat; do sed 's/.*) //' $thread | cut -d' ' -f39; done | sort | uniq -c
                end
                """#)
        expect(outcome, exits: 0)
        let lines = outcome.out.split(separator: "\n").map { $0.split(separator: " ") }
        #expect(lines.count == 2 && lines.first?.last == "3" && Int(lines.first?.first ?? "") ?? 0 > 4, "\(outcome)")
    }

    @Test(
        "Clients that send byte by byte, nothing, without end, or take no answer lose their connections while others pay"
    )
    func crowd() async throws {
        let bank = try await ServedBank.make()
        let line = ServedLine(key: bank.key)
        let server = try ServedProcesses(bank.home, .together)
        let url = try await server.url()
        line.goesTo(try #require(url, "\(server.log)"))
        let port = try #require(url?.split(separator: ":").last)
        let isOver = Flag()
        let script = #"python3 -c "$CLIENT" \#(port) \#(server.ids[0])"#
        let (outcome, shop) = try await withThrowingTaskGroup(of: ServedShop?.self) { group in
            group.addTask {
                var shop = ServedShop(
                    line, cards: Array(bank.cards[1..<4]), guessed: bank.cards[0], name: "beside", seed: 1)
                await shop.open { isOver.isSet }
                return shop
            }
            defer { line.end() }
            let outcome = try await bank.issuer.run(script, environment: ["CLIENT": HostileWire.crowd], limit: 300)
            isOver.set()
            return (outcome, try await group.next() ?? nil)
        }
        try await line.close()
        #expect(await server.terminate() == [0], "\(server.log)")
        expect(outcome, exits: 0)
        #expect(outcome.out.contains("opened 420") && outcome.out.contains("closed by the server"), "\(outcome)")
        let grew = outcome.out.firstMatch(of: #/grew (\d+)/#).flatMap { Int($0.output.1) }
        // Sixty clients that take no answer had each the parsed requests of one read, which without a limit are megabytes.
        #expect(try #require(grew, "\(outcome)") < 160)
        print("hostile connections: 420, the server grew by \(grew ?? 0) MB")
        let orders = try #require(shop).orders
        #expect(shop?.findings == [] && orders.count { $0.shown == .paid || $0.shown == .held } > 0)
        #expect(line.counts.unanswered == 0)
        #expect(try await bank.verify() == [])
    }

    @Test(
        "More connections than files may be open end nothing: there is room for databases and tokens, and later for clients"
    )
    func files() async throws {
        let issuer = try await Issuer()
        let outcome = try await issuer.run(
            Self.start + #"""
                serve 400
                python3 -c "$CLIENT" $port $server
                grep -c "fewer connections" log
                grep -c "Too many open files" log || true
                end
                """#, environment: ["CLIENT": HostileWire.flood])
        expect(outcome, exits: 0)
        #expect(outcome.out.split(separator: "\n") == ["opened True", "ready 200", "1", "0", "ended 0"], "\(outcome)")
    }

    private final class Flag: Sendable {
        private let value = Mutex(false)
        var isSet: Bool { value.withLock { $0 } }
        func set() { value.withLock { $0 = true } }
    }
}
