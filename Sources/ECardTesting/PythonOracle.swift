import Foundation

/// The Python packages psec and pyemv as independent opinions on card values, keys and cryptograms.
///
/// A child interpreter from the virtual environment that `ECARD_TEST_PYTHON` names (`tools/test` makes it, with
/// psec 1.3.0, pyemv 1.5.0, pyhpke 0.6.5 and cryptography) answers whole batches: one line of JSON there, one back.
public final class PythonOracle {
    /// The environment variable that holds the interpreter's path.
    public static let variable = "ECARD_TEST_PYTHON"

    /// The interpreter that the environment names.
    public static var interpreter: String? {
        ProcessInfo.processInfo.environment[variable].flatMap { $0.isEmpty ? nil : $0 }
    }

    /// Whether differential tests can run. Where the variable is set but does not work they fail, they are not skipped.
    public static var isConfigured: Bool { interpreter != nil }

    /// What a test prints that does not run.
    public static let howToEnable = """
        differential tests need \(variable): the path of a Python interpreter with psec==1.3.0, pyemv==1.5.0, \
        pyhpke==0.6.5 and cryptography (tools/test makes one)
        """

    public struct Failure: Error, CustomStringConvertible {
        public let description: String
    }

    private let child: LineChild

    /// Starts the interpreter that the environment names and waits until it has loaded its packages.
    public convenience init() throws {
        guard let path = PythonOracle.interpreter else { throw Failure(description: PythonOracle.howToEnable) }
        try self.init(interpreter: path)
    }

    /// The same with an interpreter of the caller's.
    public init(interpreter path: String) throws {
        do {
            child = try LineChild(path, ["-u", "-W", "ignore", "-c", PythonOracle.script])
        } catch {
            throw Failure(description: "the interpreter \(path) cannot be started: \(error)")
        }
        let greeting = try line()
        guard greeting == "psec 1.3.0 pyemv 1.5.0" else {
            throw Failure(description: "\(path) has '\(greeting)', psec 1.3.0 pyemv 1.5.0 wanted")
        }
    }

    /// Calls one function of the script for every row of arguments: hexadecimal, digits or numbers, as text.
    /// - Returns: one text a row.
    /// - Throws: ``Failure`` with what Python said, when any row fails.
    public func call(_ function: String, _ rows: [[String]]) throws -> [String] {
        try child.send(JSONEncoder().encode(Request(function: function, rows: rows)))
        let answer = try JSONDecoder().decode(Answer.self, from: Data(line().utf8))
        guard let values = answer.values else {
            throw Failure(description: "\(function): \(answer.error ?? "no answer")")
        }
        guard values.count == rows.count else {
            throw Failure(description: "\(function): \(values.count) answers to \(rows.count) rows")
        }
        return values
    }

    private func line() throws -> String {
        guard let line = child.line() else {
            throw Failure(description: "the Python child ended; its packages may be missing (see its message above)")
        }
        return line
    }

    private struct Request: Encodable {
        let function: String
        let rows: [[String]]
    }

    private struct Answer: Decodable {
        let values: [String]?
        let error: String?
    }

    private static let script = """
        import json, sys
        from importlib.metadata import version
        import psec, pyemv
        h = bytes.fromhex
        pad = {'1': pyemv.ac.PaddingType.VISA, '2': pyemv.ac.PaddingType.EMV}
        def leaves(tree):
            for tag, value in tree.items():
                if isinstance(value, dict): yield from leaves(value)
                else: yield tag + ':' + value.hex().upper()
        def ecb(key, block): return pyemv.tools.encrypt_tdes_ecb(key, h(block))
        functions = {
            'ecb': lambda key, block: ecb(h(key), block).hex(),
            'kcv': lambda key: psec.des.generate_kcv(h(key), 3).hex(),
            'cvv': lambda cvk, pan, expiry, service: psec.cvv.generate_cvv(h(cvk), pan, expiry, service),
            'option_a': lambda imk, pan, psn: pyemv.kd.derive_icc_mk_a(h(imk), pan, psn).hex(),
            'option_b': lambda imk, pan, psn: pyemv.kd.derive_icc_mk_b(h(imk), pan, psn).hex(),
            'session_key': lambda key, r: pyemv.kd.derive_common_sk(h(key), h(r)).hex(),
            'mac_psec': lambda key, data, padding, length:
                psec.mac.generate_retail_mac(h(key)[:8], h(key)[8:], h(data), int(padding), int(length)).hex(),
            'mac_pyemv': lambda key, data, padding, length:
                pyemv.mac.mac_iso9797_3(h(key)[:8], h(key)[8:], h(data), int(padding), int(length)).hex(),
            'arqc': lambda key, data, padding: pyemv.ac.generate_ac(h(key), h(data), pad[padding]).hex(),
            'arpc_1': lambda key, arqc, code: pyemv.ac.generate_arpc_1(h(key), h(arqc), h(code)).hex(),
            'tlv': lambda data: pyemv.tlv.encode(pyemv.tlv.decode(h(data))).hex(),
            'tlv_leaves': lambda data: ' '.join(leaves(pyemv.tlv.decode(h(data)))),
            'cvn': lambda name, imk, pan, psn, values: getattr(pyemv.cvn, name)(h(imk), h(imk), h(imk), pan, psn)
                .generate_ac(*[h(value) for value in values.split()]).hex(),
            'arpc_2': lambda key, arqc, csu, data: pyemv.ac.generate_arpc_2(h(key), h(arqc), h(csu), h(data)).hex(),
        }
        \(custodyScript)
        \(sealingScript)
        \(requestScript)
        print('psec', version('psec'), 'pyemv', version('pyemv'))
        for line in sys.stdin:
            try:
                request = json.loads(line)
                function = functions[request['function']]
                print(json.dumps({'values': [function(*row) for row in request['rows']]}))
            except Exception as error:
                print(json.dumps({'error': repr(error)}))
        """
}
