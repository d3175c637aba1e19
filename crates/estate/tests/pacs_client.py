"""A bank that writes and reads messages with pyiso20022, whose classes are drawn from the published schemas.

Arguments: folder of the packages, URL of the rails, IBAN of the payee, a file with a message of ours.
"""
import sys
from datetime import datetime, timezone
from decimal import Decimal
from urllib.request import Request, urlopen

sys.path.insert(0, sys.argv[1])
from pyiso20022.pacs.pacs_002_001_10 import pacs_002_001_10 as answers  # noqa: E402
from pyiso20022.pacs.pacs_008_001_08 import pacs_008_001_08 as transfers  # noqa: E402
from pyiso20022.pacs.pacs_028_001_03 import pacs_028_001_03 as requests  # noqa: E402
from xsdata.formats.dataclass.parsers import XmlParser  # noqa: E402
from xsdata.formats.dataclass.parsers.config import ParserConfig  # noqa: E402
from xsdata.formats.dataclass.serializers import XmlSerializer  # noqa: E402
from xsdata.models.datatype import XmlDate, XmlDateTime  # noqa: E402

URL, PAYEE, OURS = sys.argv[2:5]
NOW = XmlDateTime.from_datetime(datetime.now(timezone.utc))
# What the schema does not have is an error.
STRICT = XmlParser(config=ParserConfig(fail_on_unknown_properties=True, fail_on_unknown_attributes=True))


def send(document):
    text = XmlSerializer().render(document).encode()
    with urlopen(Request(URL, text, {"content-type": "application/xml"}), timeout=30) as answer:
        report = STRICT.from_bytes(answer.read(), answers.Document)
    (one,) = report.fito_fipmt_sts_rpt.tx_inf_and_sts
    return one


def agent(bic):
    institution = transfers.FinancialInstitutionIdentification18(bicfi=bic)
    return transfers.BranchAndFinancialInstitutionIdentification6(fin_instn_id=institution)


def account(iban):
    return transfers.CashAccount38(id=transfers.AccountIdentification4Choice(iban=iban))


def transfer(number, iban, amount):
    header = transfers.GroupHeader93(
        msg_id=f"PY-M-{number}", cre_dt_tm=NOW, nb_of_txs="1",
        sttlm_inf=transfers.SettlementInstruction7(sttlm_mtd=transfers.SettlementMethod1Code.CLRG),
    )
    one = transfers.CreditTransferTransaction39(
        pmt_id=transfers.PaymentIdentification7(end_to_end_id="E2E", tx_id=f"PY-{number}"),
        intr_bk_sttlm_amt=transfers.ActiveCurrencyAndAmount(value=Decimal(amount), ccy="EUR"),
        intr_bk_sttlm_dt=XmlDate.today(), accptnc_dt_tm=NOW, chrg_br=transfers.ChargeBearerType1Code.SLEV,
        dbtr=transfers.PartyIdentification135(nm="Anna Autre"), dbtr_acct=account("DE89370400440532013000"),
        dbtr_agt=agent("OTHRDEFFXXX"), cdtr_agt=agent("GUICFRPP"),
        cdtr=transfers.PartyIdentification135(nm="Somebody"), cdtr_acct=account(iban),
        rmt_inf=transfers.RemittanceInformation16(ustrd=["Danke & Grüße"]),
    )
    body = transfers.FitoFicustomerCreditTransferV08(grp_hdr=header, cdt_trf_tx_inf=[one])
    return transfers.Document(fito_ficstmr_cdt_trf=body)


def request(number):
    group = requests.OriginalGroupInformation29(orgnl_msg_id=f"PY-M-{number}", orgnl_msg_nm_id="pacs.008.001.08")
    one = requests.PaymentTransaction113(orgnl_grp_inf=group, orgnl_tx_id=f"PY-{number}")
    header = requests.GroupHeader91(msg_id=f"PY-Q-{number}", cre_dt_tm=NOW)
    return requests.Document(fito_fipmt_sts_req=requests.FitoFipaymentStatusRequestV03(grp_hdr=header, tx_inf=[one]))


for number, iban, amount, status, reason in [
    (1, PAYEE, "12.50", "ACSC", None),
    (1, PAYEE, "12.50", "ACSC", None),
    (1, PAYEE, "13.50", "RJCT", "DUPL"),
    (2, "DE75512108001245126199", "1.00", "RJCT", "AC01"),
]:
    told = send(transfer(number, iban, amount))
    code = told.sts_rsn_inf[0].rsn.cd if told.sts_rsn_inf else None
    assert (told.tx_sts, code, told.orgnl_tx_id) == (status, reason, f"PY-{number}"), told
assert send(request(1)).tx_sts == "ACSC"
assert send(request(3)).sts_rsn_inf[0].rsn.cd == "NOOR"

ours = STRICT.parse(OURS, transfers.Document).fito_ficstmr_cdt_trf
assert ours.cdt_trf_tx_inf[0].intr_bk_sttlm_amt.value == Decimal("12.50"), ours
print("ok")
