"""Rates of the Python packages that people use for the same work, one line of JSON each.

psec and pyemv compute in software, without any HSM; python-pkcs11 drives the same token as we do. The PIN comes on
standard input: peers.py MODULE LABEL SECONDS <pin
"""
import json
import sys
import time
from importlib.metadata import version

import pkcs11
import psec
import pyemv


def measure(who, operation, work, seconds):
    """Runs `work` until the time is over; rates by wall clock and by CPU time."""
    for _ in range(50):
        work()
    count, wall, cpu = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - wall < seconds:
        for _ in range(50):
            work()
        count += 50
    print(json.dumps({
        'who': f'{who} {version(who)}', 'operation': operation,
        'perSecond': count / (time.perf_counter() - wall), 'perCPUSecond': count / (time.process_time() - cpu)}))


def cryptogram():
    """ARQC verified and ARPC made, both keys derived on the way, as our path does it."""
    icc = pyemv.kd.derive_icc_mk_a(IMK, '9936000000000005', '01')
    key = pyemv.kd.derive_common_sk(icc, bytes.fromhex('0001000000000000'))
    arqc = pyemv.ac.generate_ac(key, DATA, pyemv.ac.PaddingType.EMV)
    pyemv.ac.generate_arpc_2(key, arqc, bytes.fromhex('00800000'), b'')


IMK = bytes.fromhex('0123456789ABCDEFFEDCBA9876543210')
DATA = bytes(36)
module, label, seconds = sys.argv[1], sys.argv[2], float(sys.argv[3])
pin = sys.stdin.readline().strip()

measure('psec', 'CVV', lambda: psec.cvv.generate_cvv(IMK, '9936000000000005', '3012', '000'), seconds)
measure('pyemv', 'ARQC + ARPC', cryptogram, seconds)
token = pkcs11.lib(module).get_token(token_label=label)
with token.open(rw=True, user_pin=pin) as session:
    key = session.get_key(label='ecard.code.1').copy({pkcs11.Attribute.TOKEN: False})
    message = bytes(60)
    tag = key.sign(message, mechanism=pkcs11.Mechanism.SHA256_HMAC)
    measure(
        'python-pkcs11', 'code verify', lambda: key.verify(message, tag, mechanism=pkcs11.Mechanism.SHA256_HMAC), seconds)
