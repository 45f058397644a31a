extension DataElement {
    /// EMV 4.4 Book 1, Annex B, and Book 3, Annex A1 (names shortened to what fits a line); after the blank lines the
    /// tags of EMV Contactless Book A that contact chips carry too, of ISO/IEC 7816-4 and 7816-6, of GlobalPlatform
    /// 2.3.1 and of EMV CPS 1.1. Lengths are in bytes.
    static let table = """
        42 | Issuer identification number (IIN) | n | 3-3 | ICC | BF0C 73
        4F | Application identifier (AID), card | b | 5-16 | ICC | 61
        50 | Application label | ans | 1-16 | ICC | 61 A5
        57 | Track 2 equivalent data | b | 0-19 | ICC | 70 77
        5A | Application primary account number (PAN) | cn | 0-10 | ICC | 70 77
        5F20 | Cardholder name | ans | 2-26 | ICC | 70 77
        5F24 | Application expiration date | date | 3-3 | ICC | 70 77
        5F25 | Application effective date | date | 3-3 | ICC | 70 77
        5F28 | Issuer country code | n | 2-2 | ICC | 70 77
        5F2A | Transaction currency code | n | 2-2 | Terminal |
        5F2D | Language preference | an | 2-8 | ICC | A5
        5F30 | Service code | n | 2-2 | ICC | 70 77
        5F34 | PAN sequence number | n | 1-1 | ICC | 70 77
        5F36 | Transaction currency exponent | n | 1-1 | Terminal |
        5F50 | Issuer URL | ans | 0-255 | ICC | BF0C 73
        5F53 | International bank account number (IBAN) | b | 0-34 | ICC | BF0C 73
        5F54 | Bank identifier code (BIC) | b | 8-11 | ICC | BF0C 73
        5F55 | Issuer country code, two letters | a | 2-2 | ICC | BF0C 73
        5F56 | Issuer country code, three letters | a | 3-3 | ICC | BF0C 73
        5F57 | Account type | n | 1-1 | Terminal |
        61 | Application template | tlv | 0-252 | ICC | 70
        6F | File control information (FCI) template | tlv | 0-252 | ICC |
        70 | Record template | tlv | 0-252 | ICC |
        71 | Issuer script template 1 | tlv | 0-255 | Issuer |
        72 | Issuer script template 2 | tlv | 0-255 | Issuer |
        73 | Directory discretionary template | tlv | 0-252 | ICC | 61
        77 | Response message template format 2 | tlv | 0-255 | ICC |
        80 | Response message template format 1 | b | 0-255 | ICC |
        81 | Amount, authorized (binary) | b | 4-4 | Terminal |
        82 | Application interchange profile (AIP) | b | 2-2 | ICC | 77 80
        83 | Command template | b | 0-255 | Terminal |
        84 | Dedicated file (DF) name | b | 5-16 | ICC | 6F
        86 | Issuer script command | b | 0-261 | Issuer | 71 72
        87 | Application priority indicator | b | 1-1 | ICC | 61 A5
        88 | Short file identifier (SFI) | b | 1-1 | ICC | A5
        89 | Authorization code | an | 6-6 | Issuer |
        8A | Authorization response code (ARC) | an | 2-2 | Issuer |
        8C | Card risk management data object list 1 (CDOL1) | dol | 0-252 | ICC | 70 77
        8D | Card risk management data object list 2 (CDOL2) | dol | 0-252 | ICC | 70 77
        8E | Cardholder verification method (CVM) list | b | 10-252 | ICC | 70 77
        8F | Certification authority public key index | b | 1-1 | ICC | 70 77
        90 | Issuer public key certificate | b | 0-248 | ICC | 70 77
        91 | Issuer authentication data | b | 8-16 | Issuer |
        92 | Issuer public key remainder | b | 0-248 | ICC | 70 77
        93 | Signed static application data | b | 0-248 | ICC | 70 77
        94 | Application file locator (AFL) | b | 0-252 | ICC | 77 80
        95 | Terminal verification results (TVR) | b | 5-5 | Terminal |
        97 | Transaction certificate data object list (TDOL) | dol | 0-252 | ICC | 70 77
        98 | Transaction certificate hash value | b | 20-20 | Terminal |
        99 | Transaction PIN data | b | 0-255 | Terminal |
        9A | Transaction date | date | 3-3 | Terminal |
        9B | Transaction status information (TSI) | b | 2-2 | Terminal |
        9C | Transaction type | n | 1-1 | Terminal |
        9D | Directory definition file (DDF) name | b | 5-16 | ICC | 61
        9F01 | Acquirer identifier | n | 6-6 | Terminal |
        9F02 | Amount, authorized (numeric) | n | 6-6 | Terminal |
        9F03 | Amount, other (numeric) | n | 6-6 | Terminal |
        9F04 | Amount, other (binary) | b | 4-4 | Terminal |
        9F05 | Application discretionary data | b | 1-32 | ICC | 70 77
        9F06 | Application identifier (AID), terminal | b | 5-16 | Terminal |
        9F07 | Application usage control (AUC) | b | 2-2 | ICC | 70 77
        9F08 | Application version number, card | b | 2-2 | ICC | 70 77
        9F09 | Application version number, terminal | b | 2-2 | Terminal |
        9F0A | Application selection registered proprietary data | b | 0-255 | ICC | 73 BF0C
        9F0B | Cardholder name, extended | ans | 27-45 | ICC | 70 77
        9F0D | Issuer action code, default | b | 5-5 | ICC | 70 77
        9F0E | Issuer action code, denial | b | 5-5 | ICC | 70 77
        9F0F | Issuer action code, online | b | 5-5 | ICC | 70 77
        9F10 | Issuer application data (IAD) | b | 0-32 | ICC | 77 80
        9F11 | Issuer code table index | n | 1-1 | ICC | A5
        9F12 | Application preferred name | ans | 1-16 | ICC | 61 A5
        9F13 | Last online ATC register | b | 2-2 | ICC |
        9F14 | Lower consecutive offline limit | b | 1-1 | ICC | 70 77
        9F15 | Merchant category code | n | 2-2 | Terminal |
        9F16 | Merchant identifier | ans | 15-15 | Terminal |
        9F17 | PIN try counter | b | 1-1 | ICC |
        9F18 | Issuer script identifier | b | 4-4 | Issuer | 71 72
        9F1A | Terminal country code | n | 2-2 | Terminal |
        9F1B | Terminal floor limit | b | 4-4 | Terminal |
        9F1C | Terminal identification | an | 8-8 | Terminal |
        9F1D | Terminal risk management data | b | 1-8 | Terminal |
        9F1E | Interface device serial number | an | 8-8 | Terminal |
        9F1F | Track 1 discretionary data | ans | 0-76 | ICC | 70 77
        9F20 | Track 2 discretionary data | cn | 0-16 | ICC | 70 77
        9F21 | Transaction time | n | 3-3 | Terminal |
        9F22 | Certification authority public key index, terminal | b | 1-1 | Terminal |
        9F23 | Upper consecutive offline limit | b | 1-1 | ICC | 70 77
        9F24 | Payment account reference (PAR) | an | 29-29 | ICC | 70 77
        9F25 | Last four digits of PAN | n | 2-2 | ICC |
        9F26 | Application cryptogram (AC) | b | 8-8 | ICC | 77 80
        9F27 | Cryptogram information data (CID) | b | 1-1 | ICC | 77 80
        9F2D | Card PIN encipherment public key certificate | b | 0-248 | ICC | 70 77
        9F2E | Card PIN encipherment public key exponent | b | 1-3 | ICC | 70 77
        9F2F | Card PIN encipherment public key remainder | b | 0-248 | ICC | 70 77
        9F32 | Issuer public key exponent | b | 1-3 | ICC | 70 77
        9F33 | Terminal capabilities | b | 3-3 | Terminal |
        9F34 | CVM results | b | 3-3 | Terminal |
        9F35 | Terminal type | n | 1-1 | Terminal |
        9F36 | Application transaction counter (ATC) | b | 2-2 | ICC | 77 80
        9F37 | Unpredictable number | b | 4-4 | Terminal |
        9F38 | Processing options data object list (PDOL) | dol | 0-252 | ICC | A5
        9F39 | POS entry mode | n | 1-1 | Terminal |
        9F3A | Amount, reference currency | b | 4-4 | Terminal |
        9F3B | Application reference currency | n | 2-8 | ICC | 70 77
        9F3C | Transaction reference currency code | n | 2-2 | Terminal |
        9F3D | Transaction reference currency exponent | n | 1-1 | Terminal |
        9F40 | Additional terminal capabilities | b | 5-5 | Terminal |
        9F41 | Transaction sequence counter | n | 2-4 | Terminal |
        9F42 | Application currency code | n | 2-2 | ICC | 70 77
        9F43 | Application reference currency exponent | n | 1-4 | ICC | 70 77
        9F44 | Application currency exponent | n | 1-1 | ICC | 70 77
        9F45 | Data authentication code | b | 2-2 | ICC |
        9F46 | Card public key certificate | b | 0-248 | ICC | 70 77
        9F47 | Card public key exponent | b | 1-3 | ICC | 70 77
        9F48 | Card public key remainder | b | 0-248 | ICC | 70 77
        9F49 | Dynamic data authentication data object list (DDOL) | dol | 0-252 | ICC | 70 77
        9F4A | Static data authentication tag list | b | 0-252 | ICC | 70 77
        9F4B | Signed dynamic application data | b | 0-248 | ICC | 77 80
        9F4C | Card dynamic number | b | 2-8 | ICC |
        9F4D | Log entry | b | 2-2 | ICC | BF0C 73
        9F4E | Merchant name and location | ans | 0-255 | Terminal |
        9F4F | Log format | dol | 0-252 | ICC |
        A5 | FCI proprietary template | tlv | 0-252 | ICC | 6F
        BF0C | FCI issuer discretionary data | tlv | 0-222 | ICC | A5

        9F50 | Offline accumulator balance | b | 0-255 | ICC |
        9F51 | Application currency code (card risk) | n | 2-2 | ICC |
        9F52 | Application default action | b | 2-6 | ICC |
        9F54 | Cumulative offline amount limit | n | 6-6 | ICC |
        9F58 | Consecutive offline limit | b | 1-1 | ICC |
        9F5D | Available offline spending amount | b | 0-6 | ICC |
        9F66 | Terminal transaction qualifiers (TTQ) | b | 4-4 | Terminal |
        9F69 | Card authentication related data | b | 5-16 | ICC | 70 77
        9F6C | Card transaction qualifiers (CTQ) | b | 2-2 | ICC | 77 80
        9F6E | Form factor indicator | b | 4-32 | ICC | 77 BF0C
        9F7C | Customer exclusive data | b | 0-32 | ICC | 77 BF0C
        9F7F | Card production life cycle data | b | 10-48 | ICC |

        62 | File control parameters | tlv | 0-252 | ICC |
        64 | File management data | tlv | 0-252 | ICC |
        66 | Card recognition data | tlv | 0-252 | ICC |
        7F49 | Public key template | tlv | 0-1024 | ICC |
        C1 | Key version counter | b | 3-3 | ICC |
        CF | Key diversification data | b | 10-10 | ICC |
        E0 | Key information template | tlv | 0-252 | ICC |
        """
}
