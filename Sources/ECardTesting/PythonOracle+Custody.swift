extension PythonOracle {
    /// What the custody proof asks of others' software, the PyPI package `cryptography`: AES, SCP03 as an onlooker with
    /// the card's K-ENC sees it, and the keys in a SoftHSM token's files.
    ///
    /// SoftHSM 2.6.1 keeps a token as files of attributes (type, kind, value; big-endian numbers of eight bytes). The
    /// token's own AES-256 key is sealed under the user PIN: salt (8) ‖ IV (16) ‖ CBC of `52 4A 52` ‖ key, the PIN hashed
    /// with SHA-256 as often as 1500 and the salt's last byte say. Every private value is IV ‖ CBC under that key.
    static let custodyScript = #"""
        import glob, hashlib, hmac, struct
        from cryptography.hazmat.primitives import cmac
        from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
        def aes(key, mode, data, decrypt=True):
            cipher = Cipher(algorithms.AES(key), mode)
            run = cipher.decryptor() if decrypt else cipher.encryptor()
            return run.update(data) + run.finalize()
        def unpad(data):
            if not 1 <= data[-1] <= 16 or data[-data[-1]:] != bytes([data[-1]]) * data[-1]: raise ValueError('padding')
            return data[:-data[-1]]
        def opened(key, blob): return unpad(aes(key, modes.CBC(blob[:16]), blob[16:]))
        def attributes(path):
            data, at, found = open(path, 'rb').read(), 8, {}
            def number():
                nonlocal at
                at += 8
                return struct.unpack('>Q', data[at - 8:at])[0]
            while at < len(data):
                kind, form = number(), number()
                length = 1 if form == 1 else 8 if form == 2 else number() * (8 if form == 5 else 1)
                found[kind] = data[at:at + length]
                at += length
            return found
        def softhsm_keys(folder, label, pin):
            for path in glob.glob(folder + '/*/token.object'):
                token = attributes(path)
                if token[0x80005349].decode().strip() != label: continue
                sealed = token[0x8000534D]
                secret = sealed[:8] + pin.encode()
                for _ in range(1500 + sealed[7]): secret = hashlib.sha256(secret).digest()
                master = opened(secret, sealed[8:])
                if master[:3] != b'RJR': raise ValueError('the PIN does not open the token')
                objects = [attributes(p) for p in glob.glob(path[:-12] + '*.object') if not p.endswith('token.object')]
                # Public halves of key pairs are no secrets, and are not sealed. A private scalar has no leading zeros.
                secret = [o for o in objects if int.from_bytes(o[0], 'big') in (3, 4)]
                value = lambda o: opened(master[3:], o[0x11]).rjust(32 if int.from_bytes(o[0], 'big') == 3 else 0, b'\0')
                return ' '.join(opened(master[3:], o[3]).decode() + ':' + value(o).hex() for o in secret)
            raise ValueError('no token ' + label)
        def under(key, data):
            # As ECB and as CBC at every alignment: what a key opens, whatever it was and wherever it begins.
            key, data, found = h(key), h(data), []
            for start in range(min(16, len(data))):
                part = data[start:start + (len(data) - start) // 16 * 16]
                plain = aes(key, modes.ECB(), part)
                found.append(plain)
                found.append(bytes(a ^ b for a, b in zip(plain[16:], part)))
            return ' '.join(piece.hex() for piece in found if piece)
        def scp03(encryption_keys, dialogue):
            # The keys as VERSION:KEY, the dialogue as COMMAND:ANSWER. Amendment D v1.2: 4.1.5 session keys, 6.2.6 command data, 6.2.7 answer data.
            def data(counter, direction, body):
                iv = aes(session, modes.ECB(), bytes([direction]) + counter.to_bytes(15, 'big'), decrypt=False)
                plain = aes(session, modes.CBC(iv), body).rstrip(b'\0')
                if plain[-1:] != b'\x80': raise ValueError('padding of command %d' % counter)
                return plain[:-1].hex()
            keys = {int(version, 16): h(key) for version, key in (item.split(':') for item in encryption_keys.split())}
            session, counter, plain = None, 0, []
            for exchange in dialogue.split():
                command, answer = map(h, exchange.split(':'))
                if command[1] == 0x50 and answer[-2:] == b'\x90\0':
                    session, key, challenge = None, keys[answer[10]], command[5:13] + answer[13:21]
                elif command[0] & 4 and command[1] == 0x82 and answer[-2:] == b'\x90\0':
                    mac = cmac.CMAC(algorithms.AES(key))
                    mac.update(bytes(11) + b'\x04\0\0\x80\x01' + challenge)
                    session, counter = mac.finalize(), 0
                elif command[0] & 4 and session:
                    counter += 1
                    if command[4] > 8: plain.append(data(counter, 0x00, command[5:5 + command[4] - 8]))
                    if len(answer) > 10: plain.append(data(counter, 0x80, answer[:-10]))
            return ' '.join(plain)
        functions.update({
            'aes_ecb': lambda key, data: aes(h(key), modes.ECB(), h(data), decrypt=False).hex(),
            'hmac': lambda key, data: hmac.new(h(key), h(data), 'sha256').hexdigest(),
            'softhsm_keys': softhsm_keys, 'under': under, 'scp03': scp03,
        })
        """#
}
