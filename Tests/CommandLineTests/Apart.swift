/// What scripts need to run bank and issuer as two processes: `$ECARD_HOME` is the issuer's, `$bank_home` the bank's.
enum Apart {
    /// Makes the bank in a folder of its own, certificates for both, a merchant with the key in the file `key`; and functions:
    /// `listen NAME OPTIONS` starts a server and waits until it listens (`$NAME` its process, `$NAME_url`), `ask` and `dial`
    /// speak to the bank, `issuer_port` is kept when the issuer is started again.
    static let prologue = #"""
        umask 077
        bank_home=$PWD/bank
        ecard bank init --apart --home bank >&2
        ecard pki init >&2
        ecard pki issue issuer >&2
        ecard pki issue bank --out bank/pki >&2
        cp $ECARD_HOME/pki/authority.pem bank/pki/
        merchant=$(ecard merchant add --home bank --name "Makola Books" --registration CS-1)
        ecard merchant verify $merchant --by Efua --home bank >&2
        ecard merchant key $merchant --home bank --key-fd 3 3>key
        echo 0123456789abcdef0123456789abcdef >bank/at.secret
        cat >bank/patterns.yaml <<'YAML'
        caps: {codes-per-phone: 1000, codes-per-merchant: 1000, codes-everywhere: 1000, notices-per-card: 1000}
        rules: []
        YAML
        listen() {
            local name=$1; shift
            : >$name.out
            ecard serve --json "$@" >$name.out 2>>$name.log & local id=$!
            until grep -q '^}' $name.out; do
                kill -0 $id 2>/dev/null || { cat $name.log >&2; exit 9; }; read -t 0.02 <> <(:) || true
            done
            printf -v $name %s $id
            printf -v ${name}_url %s $(grep -o 'http[^"]*' $name.out)
        }
        issuer_port=0
        start_issuer() { listen issuer --roles issuer --port $issuer_port; issuer_port=${issuer_url##*:}; }
        start_bank() { listen bank --home bank --roles bank,ussd --issuer https://127.0.0.1:$issuer_port --port ${1-0}; }
        printf 'server:\n  ussd:\n    africastalking:\n      secret-file: at.secret\n' >>bank/ecard.yaml
        ask() { curl -sS -H "Authorization: Bearer $(cat key)" -H 'Content-Type: application/json' "$@"; }
        dial() {
            curl -sS $bank_url/ussd/africastalking -H "Authorization: Bearer 0123456789abcdef0123456789abcdef" \
                -d sessionId=$1 -d networkCode=62001 --data-urlencode serviceCode='*920*55#' \
                --data-urlencode phoneNumber=+233201234567 --data-urlencode text="$2"
        }
        # Of one member of the JSON that is read; nothing where there is none.
        field() { python3 -c 'import json, sys; print(json.load(sys.stdin)[sys.argv[1]])' $1 2>/dev/null || true; }
        face='{"number": "'$(cat pan)'", "exp": "'$(cat expiry)'"}'
        order() { ask $bank_url/v1/payments -d '{"amount": 100, "currency": "ghs", "capture": "'${1-automatic}'", "card": '"$face"'}'; }
        status() { ask $bank_url/v1/payments/$1 | field status; }
        # As whoever has these files asks the issuer.
        as() {
            local folder=$1 party=$2; shift 2
            curl -sS --cacert bank/pki/authority.pem --cert $folder/$party.pem --key $folder/$party.key \
                --resolve issuer.ecard.internal:$issuer_port:127.0.0.1 -H 'Content-Type: application/json' "$@"
        }

        """#
}
