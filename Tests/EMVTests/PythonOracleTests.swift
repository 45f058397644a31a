import ECardTesting
import Testing

/// The oracle itself: what is wrong with it must be said, never passed over.
@Suite(.enabled(if: PythonOracle.isConfigured, Comment(rawValue: PythonOracle.howToEnable)))
struct PythonOracleTests {
    @Test func answersInOrder() throws {
        let oracle = try PythonOracle()
        #expect(
            try oracle.call("kcv", [["0123456789ABCDEFFEDCBA9876543210"], ["00000000000000000000000000000000"]]) == [
                "08d7b4", "8ca64d",
            ])
        #expect(try oracle.call("kcv", []) == [])
    }

    @Test func failuresAreThrownAndTheChildGoesOn() throws {
        let oracle = try PythonOracle()
        #expect(throws: PythonOracle.Failure.self) { try oracle.call("no such function", [["00"]]) }
        #expect(throws: PythonOracle.Failure.self) { try oracle.call("kcv", [["not hexadecimal"]]) }
        #expect(throws: PythonOracle.Failure.self) { try oracle.call("kcv", [["00", "too many"]]) }
        #expect(try oracle.call("kcv", [["0123456789ABCDEFFEDCBA9876543210"]]) == ["08d7b4"])
    }

    @Test(arguments: ["/nonexistent/python", "/bin/true", "/bin/cat"])
    func anInterpreterThatDoesNotWorkFails(path: String) {
        let error = #expect(throws: PythonOracle.Failure.self) { try PythonOracle(interpreter: path) }
        #expect(error?.description.isEmpty == false)
    }
}
