extension PythonOracle {
    /// What others' software makes of sealed codes and signed evidence.
    ///
    /// - `hpke_seal`, `hpke_open`: KEM 16 by the PyPI package pyhpke; KEM 19, which no package has, written here on
    ///   `cryptography` after draft-irtf-cfrg-dnhpke, 4.1, with y recovered by the curve's equation.
    /// - `code_seal`, `code_open`: the whole of docs/oopa.md, "The secret on the way", text forms included.
    /// - `jws`: RFC 7515 and 7518 on `cryptography`.
    static let sealingScript = #"""
        import base64
        def p256():
            from cryptography.hazmat.primitives.asymmetric import ec
            return ec
        P, B = 2**256 - 2**224 + 2**192 + 2**96 - 1, 0x5ac635d8aa3a93e7b3ebbd55769886bc651d06b0cc53b0f63bce3c3e27d2604b
        def private(scalar): return p256().derive_private_key(int(scalar, 16), p256().SECP256R1())
        def public(point): return p256().EllipticCurvePublicKey.from_encoded_point(p256().SECP256R1(), point)
        def point(key):
            from cryptography.hazmat.primitives import serialization as s
            return key.public_bytes(s.Encoding.X962, s.PublicFormat.UncompressedPoint)
        def lifted(x):
            number = int.from_bytes(x, 'big')
            square = (number**3 - 3 * number + B) % P
            y = pow(square, (P + 1) // 4, P)
            if y * y % P != square: raise ValueError('no point')
            return public(b'\x04' + x + y.to_bytes(32, 'big'))
        def expand(prk, info, length):
            # One block is enough here.
            return hmac.new(prk, info + b'\x01', 'sha256').digest()[:length]
        def extracted(suite, salt, label, material):
            return hmac.new(salt or bytes(32), b'HPKE-v1' + suite + label + material, 'sha256').digest()
        def expanded(suite, prk, label, info, length):
            return expand(prk, length.to_bytes(2, 'big') + b'HPKE-v1' + suite + label + info, length)
        def compact_aead(shared, info, ids):
            suite = b'HPKE' + ids
            context = (b'\0' + extracted(suite, b'', b'psk_id_hash', b'') + extracted(suite, b'', b'info_hash', info))
            secret = extracted(suite, shared, b'secret', b'')
            return expanded(suite, secret, b'key', context, 16), expanded(suite, secret, b'base_nonce', context, 12)
        def compact_shared(own, other, enc, receiver):
            suite = b'KEM' + bytes([0, 0x13])
            prk = extracted(suite, b'', b'eae_prk', own.exchange(p256().ECDH(), other))
            return expanded(suite, prk, b'shared_secret', enc + receiver, 32)
        COMPACT = bytes([0, 0x13, 0, 1, 0, 1])
        def pyhpke_suite():
            import pyhpke
            return pyhpke, pyhpke.CipherSuite.new(
                pyhpke.KEMId.DHKEM_P256_HKDF_SHA256, pyhpke.KDFId.HKDF_SHA256, pyhpke.AEADId.AES128_GCM)
        def hpke_seal(kem, receiver, info, aad, message):
            receiver, info, aad, message = map(h, (receiver, info, aad, message))
            if kem == '16':
                pyhpke, suite = pyhpke_suite()
                enc, sender = suite.create_sender_context(
                    pyhpke.KEMKey.from_pyca_cryptography_key(public(receiver)), info=info)
                return (enc + sender.seal(message, aad=aad)).hex()
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
            own = p256().generate_private_key(p256().SECP256R1())
            enc = point(own.public_key())[1:33]
            key, nonce = compact_aead(compact_shared(own, public(receiver), enc, receiver[1:33]), info, COMPACT)
            return (enc + AESGCM(key).encrypt(nonce, message, aad)).hex()
        def hpke_open(kem, scalar, info, aad, sealed):
            own, info, aad, sealed = private(scalar), h(info), h(aad), h(sealed)
            if kem == '16':
                pyhpke, suite = pyhpke_suite()
                receiver = suite.create_recipient_context(
                    sealed[:65], pyhpke.KEMKey.from_pyca_cryptography_key(own), info=info)
                return receiver.open(sealed[65:], aad=aad).hex()
            from cryptography.hazmat.primitives.ciphers.aead import AESGCM
            enc = sealed[:32]
            shared = compact_shared(own, lifted(enc), enc, point(own.public_key())[1:33])
            key, nonce = compact_aead(shared, info, COMPACT)
            return AESGCM(key).decrypt(nonce, sealed[32:], aad).hex()
        def code_aad(payment, prompt, phone, expiry):
            def field(text): return len(text).to_bytes(2, 'big') + text.encode()
            return (field(payment) + hashlib.sha256(prompt.encode()).digest() + field(phone)
                + int(expiry).to_bytes(8, 'big')).hex()
        PURPOSE = b'ecard code 1'.hex()
        def code_seal(form, kind, id, receiver, code, *context):
            sealed = bytes([int(id)]) + h(hpke_seal(form, receiver, PURPOSE, code_aad(*context), code.encode().hex()))
            if kind == 'digits': return str(int.from_bytes(sealed, 'big'))
            return base64.urlsafe_b64encode(sealed).decode().rstrip('=')
        def code_open(form, scalar, text, *context):
            if text.isdigit():
                number = int(text)
                sealed = number.to_bytes((number.bit_length() + 7) // 8, 'big')
            else:
                sealed = base64.urlsafe_b64decode(text + '=' * (-len(text) % 4))
            return '%d:%s' % (sealed[0], h(hpke_open(form, scalar, PURPOSE, code_aad(*context), sealed[1:].hex())).decode())
        def jws(pem, text):
            from cryptography.hazmat.primitives import hashes, serialization
            from cryptography.hazmat.primitives.asymmetric import utils
            def bytes_of(part): return base64.urlsafe_b64decode(part + '=' * (-len(part) % 4))
            header, payload, signature = text.split('.')
            raw = bytes_of(signature)
            if len(raw) != 64 or json.loads(bytes_of(header))['alg'] != 'ES256': raise ValueError('no ES256')
            der = utils.encode_dss_signature(int.from_bytes(raw[:32], 'big'), int.from_bytes(raw[32:], 'big'))
            serialization.load_pem_public_key(pem.encode()).verify(
                der, (header + '.' + payload).encode(), p256().ECDSA(hashes.SHA256()))
            return bytes_of(payload).hex()
        functions.update({
            'ecdh': lambda scalar, peer: private(scalar).exchange(p256().ECDH(), public(h(peer))).hex(),
            'hpke_seal': hpke_seal, 'hpke_open': hpke_open, 'code_seal': code_seal, 'code_open': code_open, 'jws': jws,
        })
        """#
}
