import ECardServer
import ECardTesting
import Foundation
import Ledger
import Logging
import Testing

/// What `/openapi.yaml` says is what the server does.
@Suite(.ownThread) struct OpenAPITests {
    private static func routes(of bank: ServerBank) -> [Route] {
        bank.merchantAPI.routes
            + OperationsAPI(parts: [], metrics: PrometheusMetrics(), logger: Logger(label: "test")).routes
    }

    @Test("It describes every route, and none that is not there")
    func routes() async throws {
        let routes = Self.routes(of: try await ServerBank())
        let text = try await RunningServer.with(routes) { try await $0.send("GET", "/openapi.yaml").text }
        var described: Set<String> = []
        var path = ""
        for line in text.prefix(upTo: try #require(text.range(of: "\ncomponents:")).lowerBound).split(separator: "\n") {
            if let found = line.wholeMatch(of: #/  (/.*):/#) { path = String(found.1) }
            if let found = line.wholeMatch(of: #/    (get|post|put|delete|patch):/#) {
                described.insert("\(found.1.uppercased()) \(path)")
            }
        }
        #expect(described == Set(routes.map(\.name)))
    }

    /// Valid requests and every kind of wrong one, made by schemathesis from the description, and every answer compared with
    /// it.
    @Test(
        "Schemathesis finds nothing that it does not describe",
        .enabled(if: PythonOracle.isConfigured, "\(PythonOracle.howToEnable)"))
    func schemathesis() async throws {
        let python = try #require(PythonOracle.interpreter)
        let bank = try await ServerBank()
        let shop = try await bank.merchant()
        let seed =
            ProcessInfo.processInfo.environment["ECARD_TEST_SEED"].flatMap { UInt32($0) } ?? .random(in: 0...9999)
        print("schemathesis: ECARD_TEST_SEED=\(seed)")
        let settings = bank.folder.file("schemathesis.toml")
        // A check digit and the list of currencies are beyond what a schema can say, so what fits it may be refused; and
        // its stateful runs know no settings of one operation.
        let rules = """
            [checks]
            positive_data_acceptance.expected-statuses = ["2xx", 400, 401, 403, 404, 409, 422, 503]
            """
        try rules.write(toFile: settings, atomically: true, encoding: .utf8)
        try await RunningServer.with(Self.routes(of: bank)) { server in
            let (status, text) = try await Self.run(
                URL(fileURLWithPath: python).deletingLastPathComponent().path + "/schemathesis",
                [
                    "--config-file", settings, "run", "\(server.base)/openapi.yaml", "--url", server.base, "-H",
                    "Authorization: Bearer \(shop.key)", "--max-examples", "25", "--seed", "\(seed)", "--no-color",
                    "--checks", "all",
                ], folder: bank.folder.path)
            #expect(status == 0, "\(text)")
            #expect(text.contains("Tested: 10"), "\(text)")
        }
        #expect(try await bank.books.verify(since: nil) == [])
    }

    private static func run(
        _ program: String, _ arguments: [String], folder: String
    ) async throws -> (status: Int32, text: String) {
        try await onOwnThread {
            let process = TestProcess()
            let output = Pipe()
            process.executableURL = URL(fileURLWithPath: program)
            process.arguments = arguments
            process.currentDirectoryURL = URL(fileURLWithPath: folder)
            process.standardOutput = output
            process.standardError = output
            try process.start()
            let text = String(decoding: output.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self)
            process.waitUntilExit()
            return (process.terminationStatus, text)
        }
    }
}
