import ArgumentParser
import PaymentPorts
import ByteCoding
import Foundation
import Issuing
import KeyCustody
import Ledger
import PCSC
import PKCS11
import SmartCard

struct DoctorCommand: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Look at every part, and say what is missing and the command that mends it.",
        discussion: "Looks, and repairs nothing by itself. Exit code 0: all there, 3: something is missing.")

    @OptionGroup var folder: HomeOptions
    @OptionGroup var output: OutputOptions

    struct Finding: Encodable {
        let part: String
        let ok: Bool
        let what: String
        @OrNull var mend: String?

        static func good(_ part: String, _ what: String) -> Finding {
            Finding(part: part, ok: true, what: what, mend: nil)
        }

        static func bad(_ part: String, _ what: String, mend: String) -> Finding {
            Finding(part: part, ok: false, what: what, mend: mend)
        }
    }

    func run() async throws {
        let home = folder.home
        var findings = checkFolder(home)
        findings += await checkIssuer(home)
        findings += await BankFindings(home: home).all()
        findings += await ServerFindings(home: home).all()
        // A bank whose issuer runs apart has nothing to do with cards.
        let parts = try? Settings.load(home)
        if parts == nil || parts?.issuer != nil { findings += await checkReaders() }
        let result = findings
        try output.print(result) {
            result.map { finding in
                "\(finding.ok ? "ok     " : "MISSING")  \(finding.part): \(finding.what)"
                    + (finding.mend.map { "\n         mend it: \($0)" } ?? "")
            }.joined(separator: "\n")
        }
        let missing = result.filter { !$0.ok }.count
        if missing > 0 { throw EnvironmentFailure("\(missing) of \(result.count) parts need mending") }
    }

    private func good(_ part: String, _ what: String) -> Finding { .good(part, what) }

    private func bad(_ part: String, _ what: String, mend: String) -> Finding { .bad(part, what, mend: mend) }

    private func checkFolder(_ home: StateFolder) -> [Finding] {
        guard FileManager.default.fileExists(atPath: home.configuration) else {
            return [bad("state folder", "no issuer in \(home.path)", mend: "ecard init --home \(home.path)")]
        }
        let attributes = try? FileManager.default.attributesOfItem(atPath: home.path)
        let mode = (attributes?[.posixPermissions] as? NSNumber)?.intValue ?? 0
        guard mode & 0o077 == 0 else {
            return [bad("state folder", "\(home.path) is open to others", mend: "chmod 700 \(home.path)")]
        }
        let found = [good("state folder", home.path)] + checkDisk(home)
        do {
            _ = try Settings.load(home)
            return found
        } catch {
            return found + [bad("settings", "\(error)", mend: "correct \(home.configuration)")]
        }
    }

    /// Whether there is room for what every payment writes.
    private func checkDisk(_ home: StateFolder) -> [Finding] {
        var disk = statvfs()
        guard statvfs(home.path, &disk) == 0 else { return [] }
        let mebibytes = UInt64(disk.f_bavail) * UInt64(disk.f_frsize) / (1 << 20)
        let mend = "make room on the disk of \(home.path)"
        guard mebibytes >= 100 else { return [bad("disk", "\(mebibytes) MiB are free", mend: mend)] }
        // Where a file system makes inodes as they are needed, it tells none.
        guard disk.f_files == 0 || disk.f_favail >= 1000 else {
            return [bad("disk", "\(disk.f_favail) inodes are free", mend: mend)]
        }
        return [good("disk", "\(mebibytes) MiB are free")]
    }

    /// What mends a ledger that cannot be opened. A file that another program keeps locked is whole.
    static func mend(_ error: any Error, _ path: String, else mend: String) -> String {
        (error as? StoreError)?.isLocked == true
            ? "end the other program that holds it (fuser \(path)), or wait" : mend
    }

    private func checkIssuer(_ home: StateFolder) async -> [Finding] {
        guard let settings = try? Settings.loadIssuer(home) else { return [] }
        var findings: [Finding] = []
        let keys: PKCS11KeyStore
        do {
            keys = try Parts.openKeys(home, settings)
            findings.append(good("token", keys.name))
        } catch {
            return [
                bad(
                    "token", "\(error)",
                    mend: FileManager.default.fileExists(atPath: settings.module)
                        ? "check module, token and pin-file in \(home.configuration)" : "apt-get install softhsm2")
            ]
        }
        do {
            let preflight = try await keys.preflight()
            let lacking = preflight.abilities.filter { !$0.failures.isEmpty }
            findings.append(
                lacking.isEmpty
                    ? good("mechanisms", "all \(preflight.rows.count) executed")
                    : bad(
                        "mechanisms",
                        lacking.map { TokenFitness.reason($0.ability, $0.failures) }.joined(separator: "; "),
                        mend: "use a token that has them: 'ecard hsm preflight --module … --token …' tells"))
        } catch {
            findings.append(bad("mechanisms", "\(error)", mend: "ecard hsm preflight"))
        }
        do {
            let ledger = try LedgerDatabase(
                path: home.resolve(settings.ledger), sealer: AuditKeySealer(keys), create: false)
            findings.append(good("ledger", "\(try await ledger.checkpoint().count) audit records"))
            findings += await checkKeys(keys, ledger)
        } catch {
            let path = home.resolve(settings.ledger)
            findings.append(
                bad(
                    "ledger", "\(error)",
                    mend: Self.mend(error, path, else: "ecard init --home \(home.path), or restore \(path)")))
        }
        do {
            _ = try home.profile("classic")
            findings.append(good("card profile", "\(home.profiles)/classic.yaml"))
        } catch {
            findings.append(bad("card profile", "\(error)", mend: "ecard init --home \(home.path)"))
        }
        return findings
    }

    private func checkKeys(_ keys: PKCS11KeyStore, _ ledger: LedgerDatabase) async -> [Finding] {
        do {
            let versions = try await ledger.keyVersions()
            let lacking = try await keys.withSession { try IssuerKey.missing(versions, in: $0) }
            let missing = lacking.map { $0.key.label($0.version) }
            guard missing.isEmpty else {
                return [
                    bad(
                        "keys", "missing: \(missing.joined(separator: ", "))",
                        mend: lacking.allSatisfy { $0.key.mayBeLacking($0.version) }
                            ? "ecard init --home \(folder.home.path)" : "restore the token from its copy")
                ]
            }
            let found = good("keys", "all \(IssuerKey.allCases.count) are in the token")
            let unfinished = Set(
                try await ledger.keyUses(at: SystemTime().now()).filter { $0.movable > 0 }.map(\.key.rawValue))
            guard let key = unfinished.sorted().first else { return [found] }
            return [
                found,
                bad(
                    "key rotation",
                    "not finished: \(unfinished.sorted().joined(separator: ", "))",
                    mend: "ecard hsm rotate \(key) --yes"),
            ]
        } catch {
            return [bad("keys", "\(error)", mend: "ecard hsm preflight")]
        }
    }

    private func checkReaders() async -> [Finding] {
        do {
            let readers = try await PCSC.readerStates()
            let service = good("smart-card service", "pcscd answers, \(readers.count) readers")
            guard readers.contains(where: \.isVirtual) else {
                let installed = FileManager.default.fileExists(atPath: "/etc/reader.conf.d/vpcd")
                return [
                    service,
                    bad(
                        "virtual reader", installed ? "its driver is new to pcscd" : "its driver is not installed",
                        mend: installed ? Self.restart : "apt-get install vsmartcard-vpcd, then: \(Self.restart)"),
                ]
            }
            return [service, good("virtual reader", "there")]
        } catch {
            let installed = FileManager.default.isExecutableFile(atPath: "/usr/sbin/pcscd")
            return [
                bad(
                    "smart-card service", "\(error)",
                    mend: installed ? Self.restart : "apt-get install pcscd vsmartcard-vpcd")
            ]
        }
    }

    private static let restart =
        FileManager.default.fileExists(atPath: "/run/systemd/system")
        ? "systemctl restart pcscd.socket pcscd.service" : "pkill -x pcscd; pcscd"
}
