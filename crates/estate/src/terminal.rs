//! A card terminal or cash machine as a command: one message of ISO 8583 to the rails, the answer in words.
//!
//! As a real one does, it reverses what it got no answer to, since the money may have been taken.

use crate::bounds::TERMINAL_PATIENCE_S_MAX;
use crate::ids;
use crate::money;
use anyhow::{Context as _, bail, ensure};
use clap::{Args, ValueEnum};
use guichet_iso8583::{MESSAGE_BYTES_MAX, Message, frame};
use std::fmt::Write as _;
use std::io::Write as _;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// How often a reversal is sent before a person must look.
const REVERSALS: u32 = 3;

/// Options of `terminal`.
#[derive(Args, Debug)]
pub struct Terminal {
    /// What to do.
    #[arg(value_enum)]
    pub deed: Deed,
    /// Number of the card; the default is that of the test user user0001.
    #[arg(long, value_name = "DIGITS", default_value_t = ids::card(1))]
    pub card: String,
    /// Amount in euros, as 12.50.
    #[arg(long, value_name = "EUROS", value_parser = money::cents, required_if_eq_any([("deed", "pay"), ("deed", "withdraw")]))]
    pub amount: Option<i64>,
    /// The operation to undo, as the terminal printed it.
    #[arg(long, value_name = "REFERENCE", required_if_eq("deed", "undo"))]
    pub original: Option<String>,
    /// Where the rails take messages of terminals.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8583")]
    pub rails: SocketAddr,
    /// Name of the terminal: eight capitals and digits.
    #[arg(long, value_name = "NAME", default_value = "T0000001")]
    pub terminal: String,
    /// Name of the merchant, as it stands on the statement.
    #[arg(long, value_name = "TEXT", default_value = "Boulangerie du Port")]
    pub merchant: String,
    /// How long to wait for an answer, seconds.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u64).range(1..=TERMINAL_PATIENCE_S_MAX))]
    pub patience: u64,
}

/// What a terminal can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Deed {
    /// Pay a merchant.
    Pay,
    /// Take cash.
    Withdraw,
    /// Ask what can be spent.
    Balance,
    /// Undo a payment or a withdrawal.
    Undo,
}

/// Sends the message and says what came of it; exit status 1 where the answer is no.
pub(crate) async fn run(options: &Terminal) -> anyhow::Result<ExitCode> {
    ensure!(options.rails.ip().is_loopback(), "{}: a test terminal speaks to loopback addresses only", options.rails);
    let request = request(options)?;
    let patience = Duration::from_secs(options.patience);
    match ask(options.rails, &request, patience).await {
        Ok(answer) => tell(options, &request, &answer),
        Err(error) if options.deed == Deed::Balance || options.deed == Deed::Undo => Err(error.into()),
        Err(Unanswered::NeverSent(error)) => Err(error),
        Err(Unanswered::Lost(error)) => {
            say(&format!("No answer ({error:#}). The payment is reversed, in case it was made.\n"))?;
            undo_until_heard(options, &request, patience).await
        }
    }
}

fn request(options: &Terminal) -> anyhow::Result<Message> {
    let mut drawn = [0; 4];
    getrandom::fill(&mut drawn).map_err(|error| anyhow::anyhow!("no randomness: {error}"))?;
    let trace = u32::from_le_bytes(drawn) % 999_999 + 1;
    let now = jiff::Timestamp::now();
    let base = |kind: &str, code: &str| {
        Message::new(kind)
            .with(2, options.card.as_str())
            .with(3, code)
            .with(7, now.strftime("%m%d%H%M%S").to_string())
            .with(11, format!("{trace:06}"))
            .with(12, now.strftime("%H%M%S").to_string())
            .with(13, now.strftime("%m%d").to_string())
            .with(41, format!("{:<8}", options.terminal))
            .with(43, ascii(&options.merchant))
            .with(49, "978")
    };
    let amount = format!("{:012}", options.amount.unwrap_or_default());
    let message = match options.deed {
        Deed::Pay => base("0200", "000000").with(4, amount),
        Deed::Withdraw => base("0200", "010000").with(4, amount),
        Deed::Balance => base("0200", "310000"),
        Deed::Undo => {
            let original = options.original.as_deref().unwrap_or_default();
            let parts: Vec<&str> = original.split('-').collect();
            let [kind, trace, sent] = parts[..] else {
                bail!("--original {original:?}: takes what the terminal printed, as 0200-000042-1126204500")
            };
            base("0420", "000000").with(90, format!("{kind}{trace}{sent}{}", "0".repeat(22)))
        }
    };
    // What the options say wrongly is found here, with the data element.
    message.encode().with_context(|| "this can't be sent: check card, terminal and original")?;
    Ok(message)
}

/// Forty characters that terminals can print.
fn ascii(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_ascii_graphic() || c == ' ' { c } else { '?' }).take(40).collect();
    format!("{plain:<40}")
}

/// Why there is no answer.
enum Unanswered {
    /// The message did not leave: nothing happened.
    NeverSent(anyhow::Error),
    /// It may have arrived.
    Lost(anyhow::Error),
}

impl From<Unanswered> for anyhow::Error {
    fn from(unanswered: Unanswered) -> Self {
        match unanswered {
            Unanswered::NeverSent(error) | Unanswered::Lost(error) => error,
        }
    }
}

async fn ask(rails: SocketAddr, request: &Message, patience: Duration) -> Result<Message, Unanswered> {
    let connected = timeout(patience, TcpStream::connect(rails)).await;
    let stream = connected.map_err(anyhow::Error::from).and_then(|stream| Ok(stream?));
    let mut stream =
        stream.with_context(|| format!("no rails at {rails}: is the demo running?")).map_err(Unanswered::NeverSent)?;
    let bytes = request.encode().map_err(|fault| Unanswered::NeverSent(fault.into()))?;
    let exchange = async {
        stream.write_all(&frame(&bytes)).await?;
        let length = usize::from(stream.read_u16().await?);
        ensure!(length <= MESSAGE_BYTES_MAX, "the answer is too long");
        let mut bytes = vec![0; length];
        stream.read_exact(&mut bytes).await?;
        let answer = Message::decode(&bytes)?;
        ensure!(answer.get(11) == request.get(11), "the answer is to another message");
        Ok(answer)
    };
    match timeout(patience, exchange).await {
        Ok(answer) => answer.map_err(Unanswered::Lost),
        Err(_) => Err(Unanswered::Lost(anyhow::anyhow!("nothing came within {} s", patience.as_secs()))),
    }
}

async fn undo_until_heard(options: &Terminal, request: &Message, patience: Duration) -> anyhow::Result<ExitCode> {
    let part = |number| request.get(number).unwrap_or_default();
    let original = format!("{}{}{}{}", request.kind, part(11), part(7), "0".repeat(22));
    for repeat in 0..REVERSALS {
        let kind = if repeat == 0 { "0420" } else { "0421" };
        let reversal = [2, 3, 7, 11, 41, 49]
            .into_iter()
            .fold(Message::new(kind), |message, number| message.with(number, part(number)));
        match ask(options.rails, &reversal.with(90, original.as_str()), patience).await {
            Ok(_) => {
                say("Reversed: nothing is taken.\n")?;
                return Ok(ExitCode::FAILURE);
            }
            Err(error) => say(&format!("The reversal got no answer ({:#}).\n", anyhow::Error::from(error)))?,
        }
    }
    bail!(
        "the rails do not answer; undo later with: terminal undo --original {}-{}-{}",
        request.kind,
        part(11),
        part(7)
    )
}

/// What the codes mean to who stands at the till.
fn meaning(code: &str) -> &'static str {
    match code {
        "00" => "approved",
        "12" | "30" => "refused: the terminal sent something that can't be",
        "13" => "refused: this amount can't be",
        "14" => "refused: there is no such card",
        "25" => "there is no such operation to undo",
        "41" => "refused: this card is stopped",
        "51" => "refused: the account has not enough",
        "61" => "refused: over the limits of the card",
        "91" => "refused: the bank can't be reached",
        "94" => "refused: this message was seen before",
        _ => "refused",
    }
}

fn tell(options: &Terminal, request: &Message, answer: &Message) -> anyhow::Result<ExitCode> {
    let code = answer.get(39).unwrap_or("96");
    let mut text = String::new();
    let amount = options.amount.map(|cents| format!("{}.{:02} EUR, ", cents / 100, cents % 100)).unwrap_or_default();
    match (options.deed, code) {
        (Deed::Undo, "00") => text.push_str("Undone: the money is given back.\n"),
        (Deed::Balance, "00") => {}
        _ => writeln!(text, "{amount}{} ({code})", meaning(code))?,
    }
    if let Some(approval) = answer.get(38).filter(|_| options.deed != Deed::Balance) {
        let part = |number| request.get(number).unwrap_or_default();
        writeln!(text, "approval {approval}; to undo: --original {}-{}-{}", request.kind, part(11), part(7))?;
    }
    if let Some(balance) = answer.get(54).filter(|balance| balance.len() >= 20) {
        let cents: i64 = balance[8..20].parse().unwrap_or_default();
        let sign = if balance.as_bytes()[7] == b'D' { "-" } else { "" };
        writeln!(text, "can be spent: {sign}{}.{:02} EUR", cents / 100, cents % 100)?;
    }
    say(&text)?;
    Ok(if code == "00" { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}
