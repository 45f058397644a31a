import ECardServer
import Foundation
import Messaging
import PaymentPorts
import SwiftASN1
import X509

/// What `ecard doctor` finds about `ecard serve`, where there is a bank or an issuer: settings, certificates, gateways, systemd
/// unit.
struct ServerFindings {
    let home: StateFolder

    /// A certificate that ends sooner than this is one to renew.
    private static let notice: TimeInterval = 30 * 86_400

    func all() async -> [DoctorCommand.Finding] {
        guard let parts = try? Settings.load(home), parts.bank != nil || parts.issuer != nil else { return [] }
        let settings: ServerSettings
        do {
            settings = try ServerSettings.load(home, flags: [:])
        } catch {
            let wrong = DoctorCommand.Finding.bad(
                "server settings", "\(error)", mend: "correct it in \(home.configuration)")
            return [wrong] + certificates(PKIFiles(home)) + [unit()]
        }
        var findings = [DoctorCommand.Finding.good("server settings", settings.place.url(port: settings.place.port))]
        if let (chain, key) = settings.place.certificate { findings.append(certificate(chain, key)) }
        for watch in [settings.messages.sms, settings.messages.mail] { findings.append(await gateway(watch)) }
        // Telephones dial the bank.
        if parts.bank != nil, let register = settings.messages.register {
            findings.append(await self.register(register))
        }
        return findings + certificates(settings.pki) + [unit()]
    }

    private func certificate(_ chain: String, _ key: String) -> DoctorCommand.Finding {
        let part = "certificate"
        do {
            let leaf = try Certificate(pemEncoded: String(contentsOfFile: chain, encoding: .utf8))
            let attributes = try FileManager.default.attributesOfItem(atPath: key)
            guard let mode = attributes[.posixPermissions] as? NSNumber, mode.intValue & 0o077 == 0 else {
                return .bad(part, "\(key) is open to others", mend: "chmod 600 \(key)")
            }
            let own = try Certificate.PrivateKey(pemEncoded: String(contentsOfFile: key, encoding: .utf8))
            guard own.publicKey == leaf.publicKey else {
                return .bad(part, "\(key) is not the key of \(chain)", mend: "name the pair in \(home.configuration)")
            }
            return validity(part, chain, leaf, mend: "renew it, and restart the server")
        } catch {
            return .bad(
                part, "\(chain) or \(key) cannot be used: \((error as NSError).localizedDescription)",
                mend: "both must be PEM files that this user may read, the key without a passphrase")
        }
    }

    /// Those by which parties that run apart know each other, where they are in this folder.
    private func certificates(_ pki: PKIFiles) -> [DoctorCommand.Finding] {
        ([PKIFiles.authority] + Party.allCases.map(\.rawValue)).filter { pki.isThere($0) }.map { name in
            let part = "\(name)'s certificate"
            let mend =
                name == PKIFiles.authority
                ? "move \(pki.certificate(name)) and \(name).key away, run 'ecard pki init', issue every party's certificate anew with 'ecard pki issue … --renew', and give each the new \(name).pem"
                : "ecard pki issue \(name) --renew, where the authority is, then restart its server"
            do {
                return validity(part, pki.certificate(name), try pki.loadCertificate(name), mend: mend)
            } catch {
                return DoctorCommand.Finding.bad(part, "\(error)", mend: mend)
            }
        }
    }

    private func validity(
        _ part: String, _ file: String, _ certificate: Certificate, mend: String
    ) -> DoctorCommand.Finding {
        let end = certificate.notValidAfter
        let when = end.formatted(.iso8601)
        guard end.timeIntervalSinceNow > Self.notice else {
            return .bad(part, "\(file) \(end < Date() ? "ended" : "ends") \(when)", mend: mend)
        }
        return .good(part, "\(file), until \(when)")
    }

    private func gateway(_ watch: GatewayWatch) async -> DoctorCommand.Finding {
        let part = watch.channel == .sms ? "SMS gateway" : "mail gateway"
        await watch.look()
        switch watch.standing {
        case .up: return .good(part, watch.gateway == "outbox" ? "outbox, \(home.outbox)" : "\(watch.gateway) answers")
        case .down(let reason):
            let section = "server.\(watch.channel.rawValue)"
            return .bad(part, reason, mend: "correct \(section) in \(home.configuration), or start it")
        }
    }

    private func register(_ register: USSDEntity.Register) async -> DoctorCommand.Finding {
        let part = "home location register"
        do {
            try await register.check()
            return .good(part, "\(register.host) takes connections; we are EUSE-\(register.name)")
        } catch {
            return .bad(part, "\(error)", mend: "correct server.hlr in \(home.configuration), or start osmo-hlr")
        }
    }

    /// Looked at as a file: a machine without systemd needs none.
    private func unit() -> DoctorCommand.Finding {
        let part = "systemd unit"
        let path = "/etc/systemd/system/ecard.service"
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            return .good(part, "none installed; tools/ecard.service is one")
        }
        let program = text.split(separator: "\n").first { $0.hasPrefix("ExecStart=") }?
            .dropFirst("ExecStart=".count).split(separator: " ").first.map { String($0) }
        guard let program, FileManager.default.isExecutableFile(atPath: program) else {
            return .bad(
                part, "\(path) starts \(program ?? "nothing"), which is no program",
                mend: "install the tool there, or correct ExecStart and run: systemctl daemon-reload")
        }
        return .good(part, "\(path) starts \(program)")
    }
}
