extension PythonOracle {
    /// A request as others' software signs it: the PyPI package http-message-signatures 2.2.0.
    ///
    /// - `http_sign`: private key (PEM), method, URL, fields (JSON object), keyid, created (seconds), nonce or empty, tag,
    ///   components separated by spaces; answers the fields `Signature-Input` and `Signature` as a JSON object.
    static let requestScript = #"""
        def http_sign(pem, method, url, fields, keyid, created, nonce, tag, components):
            import datetime
            from http_message_signatures import HTTPMessageSigner, HTTPSignatureKeyResolver, algorithms
            class Keys(HTTPSignatureKeyResolver):
                def resolve_private_key(self, key_id): return pem.encode()
            class Message: pass
            message = Message()
            message.method, message.url, message.headers = method, url, json.loads(fields)
            HTTPMessageSigner(signature_algorithm=algorithms.ECDSA_P256_SHA256, key_resolver=Keys()).sign(
                message, key_id=keyid, created=datetime.datetime.fromtimestamp(int(created), datetime.timezone.utc),
                nonce=nonce or None, tag=tag, label='shop', covered_component_ids=components.split())
            return json.dumps({name: message.headers[name] for name in ('Signature-Input', 'Signature')})
        functions.update({'http_sign': http_sign})
        """#
}
