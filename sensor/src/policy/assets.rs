//! The asset list: CSV with a heading, or JSON lines. Read as a stream, since a state has a million devices.

use std::borrow::Cow;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use serde::Deserialize;
use vigie_config::{Fault, Finding, Origin, nearest, one_line, open_regular, toml_text};
use vigie_judgement::policy::{AssetKey, Assets, AssetsBuilder, Mac, Prefix, Refusal};

use super::fields::FINDINGS_MAX;

/// The columns of CSV, and the keys of JSON lines.
const COLUMNS: [&str; 6] = ["prefix", "mac", "label", "site", "ministry", "scope"];
/// Largest list that is read.
const ASSETS_BYTES_MAX: u64 = 1 << 30;
/// Longest line of JSON; the longest entry has about 1 kB.
const LINE_BYTES_MAX: u64 = 65_536;

/// Reads a list; its name tells the format.
///
/// # Errors
/// What is wrong with it.
pub(super) fn read(path: &Path) -> Result<Assets, Vec<Finding>> {
    let label = path.display().to_string();
    let whole = |fault: Fault| vec![Finding::error(Origin::File(label.clone(), 0), "policy.assets", "", fault)];
    let cannot = |error: std::io::Error| {
        whole(Fault::new(format!("the asset list cannot be read: {error}"), "check path and permissions"))
    };
    let file = open_regular(path).map_err(cannot)?;
    if file.metadata().is_ok_and(|data| data.len() > ASSETS_BYTES_MAX) {
        return Err(whole(Fault::new("larger than 1 GiB, not an asset list", "list networks instead of addresses")));
    }
    let mut list = List { label: &label, builder: AssetsBuilder::default(), lines: Vec::new(), findings: Vec::new() };
    let reader = BufReader::with_capacity(1 << 20, file.take(ASSETS_BYTES_MAX));
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("csv") => list.csv(reader),
        Some("jsonl" | "ndjson" | "json") => list.json_lines(reader),
        _ => return Err(whole(Fault::new("neither CSV nor JSON lines", "end its name in .csv or .jsonl"))),
    }
    list.finish()
}

/// A list that is being read.
struct List<'l> {
    label: &'l str,
    builder: AssetsBuilder,
    /// The line of each entry.
    lines: Vec<u32>,
    findings: Vec<Finding>,
}

/// One entry as it was written; empty text means none.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Row<'r> {
    #[serde(borrow)]
    prefix: Cow<'r, str>,
    #[serde(borrow)]
    mac: Cow<'r, str>,
    #[serde(borrow)]
    label: Cow<'r, str>,
    #[serde(borrow)]
    site: Cow<'r, str>,
    #[serde(borrow)]
    ministry: Cow<'r, str>,
    #[serde(borrow)]
    scope: Cow<'r, str>,
}

impl List<'_> {
    fn refuse(&mut self, line: u32, key: &str, value: &str, fault: Fault) {
        if self.findings.len() < FINDINGS_MAX {
            let value = if value.is_empty() { String::new() } else { one_line(&toml_text(value)) };
            self.findings.push(Finding::error(Origin::File(self.label.to_owned(), line), key, &value, fault));
        }
    }

    fn is_hopeless(&self) -> bool {
        self.findings.len() >= FINDINGS_MAX
    }

    fn row(&mut self, line: u32, row: &Row<'_>) {
        let Row { prefix, mac, label, site, ministry, scope } = row;
        let kind = match scope.trim() {
            "" => None,
            word => match word.parse() {
                Ok(kind) => Some(kind),
                Err(Refusal { what, mend }) => return self.refuse(line, "scope", word, Fault::new(what, mend)),
            },
        };
        let (prefix, mac) = (prefix.trim(), mac.trim());
        if prefix.is_empty() && mac.is_empty() {
            return self.refuse(
                line,
                "prefix",
                "",
                Fault::new("neither prefix nor MAC address", "give one of the two"),
            );
        }
        let prefix = (!prefix.is_empty()).then(|| ("prefix", prefix, prefix.parse::<Prefix>().map(AssetKey::Prefix)));
        let mac = (!mac.is_empty()).then(|| ("mac", mac, mac.parse::<Mac>().map(AssetKey::Mac)));
        for (key, text, parsed) in prefix.into_iter().chain(mac) {
            let added = parsed.and_then(|asset| {
                self.builder.add(asset, label.trim(), site.trim(), ministry.trim(), kind)?;
                self.lines.push(line);
                Ok(())
            });
            if let Err(Refusal { what, mend }) = added {
                self.refuse(line, key, text, Fault::new(what, mend));
            }
        }
    }

    fn csv(&mut self, reader: impl Read) {
        // A last line without an end would count differently.
        let reader = reader.chain(&b"\n"[..]);
        let mut reader = csv::ReaderBuilder::new().comment(Some(b'#')).trim(csv::Trim::All).from_reader(reader);
        let Some(columns) = self.columns(&mut reader) else { return };
        let mut record = csv::StringRecord::new();
        loop {
            match reader.read_record(&mut record) {
                Ok(true) => {}
                Ok(false) => return,
                Err(error) => return self.csv_error(&error, reader.position()),
            }
            let line = line_before(reader.position()).saturating_sub(lines_within(&record));
            let cell = |column: usize| {
                let place = columns.get(column).copied().flatten();
                Cow::Borrowed(place.and_then(|place| record.get(place)).unwrap_or_default())
            };
            let row =
                Row { prefix: cell(0), mac: cell(1), label: cell(2), site: cell(3), ministry: cell(4), scope: cell(5) };
            self.row(line, &row);
            if self.is_hopeless() {
                return;
            }
        }
    }

    /// Where each of [`COLUMNS`] stands.
    fn columns(&mut self, reader: &mut csv::Reader<impl Read>) -> Option<[Option<usize>; 6]> {
        let heading = match reader.headers() {
            Ok(heading) => heading.clone(),
            Err(error) => {
                self.csv_error(&error, reader.position());
                return None;
            }
        };
        let mut columns = [None; 6];
        for (place, name) in heading.iter().enumerate() {
            match COLUMNS.iter().position(|column| *column == name) {
                Some(column) => {
                    if let Some(slot) = columns.get_mut(column)
                        && slot.replace(place).is_some()
                    {
                        self.refuse(1, "column", name, Fault::new("this column stands twice", "keep one of the two"));
                    }
                }
                None => {
                    let mend = match nearest(name, COLUMNS) {
                        Some(near) => format!("did you mean {near}?"),
                        None => format!("the first line names the columns: {}", COLUMNS.join(", ")),
                    };
                    self.refuse(1, "column", name, Fault::new("unknown column", mend));
                }
            }
        }
        if let [None, None, ..] = columns
            && self.findings.is_empty()
        {
            let mend = format!("begin the file with a line of column names: {}", COLUMNS.join(","));
            self.refuse(1, "", "", Fault::new("no column prefix or mac", mend));
        }
        self.findings.is_empty().then_some(columns)
    }

    fn csv_error(&mut self, error: &csv::Error, position: &csv::Position) {
        let line = line_before(position);
        let fault = match error.kind() {
            csv::ErrorKind::UnequalLengths { expected_len, len, .. } => Fault::new(
                format!("{len} columns instead of {expected_len}"),
                "write as many commas in each line; a text with a comma stands in quotation marks",
            ),
            csv::ErrorKind::Utf8 { .. } => Fault::new("not UTF-8 text", "save the file as UTF-8"),
            _ => Fault::new(format!("not CSV: {}", one_line(&error.to_string())), "correct the line"),
        };
        self.refuse(line, "", "", fault);
    }

    fn json_lines(&mut self, mut reader: impl BufRead) {
        let mut bytes = Vec::new();
        let mut line = 0;
        loop {
            bytes.clear();
            line += 1;
            match reader.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut bytes) {
                Ok(0) => return,
                Ok(read) if read as u64 == LINE_BYTES_MAX => {
                    let what = format!("a line of more than {LINE_BYTES_MAX} bytes");
                    return self.refuse(line, "", "", Fault::new(what, "write one object a line"));
                }
                Ok(_) if bytes.trim_ascii().is_empty() => continue,
                Ok(_) => {}
                Err(error) => {
                    let what = format!("cannot be read: {error}");
                    return self.refuse(line, "", "", Fault::new(what, "check the disk"));
                }
            }
            match serde_json::from_slice::<Row<'_>>(&bytes) {
                Ok(row) => self.row(line, &row),
                Err(error) => {
                    let message = error.to_string();
                    let message = message.split(" at line").next().unwrap_or_default();
                    let mend = format!("write an object with {}, all texts", COLUMNS.join(", "));
                    self.refuse(line, "", "", Fault::new(format!("not an entry: {}", one_line(message)), mend));
                }
            }
            if self.is_hopeless() {
                return;
            }
        }
    }

    fn finish(self) -> Result<Assets, Vec<Finding>> {
        let Self { label, builder, lines, findings } = self;
        if !findings.is_empty() {
            return Err(findings);
        }
        builder.build().map_err(|(one, other)| {
            let line = |number: usize| lines.get(number).copied().unwrap_or_default();
            let what = format!("the same prefix or MAC address as in line {}", line(one));
            let origin = Origin::File(label.to_owned(), line(other));
            vec![Finding::error(origin, "", "", Fault::new(what, "keep one of the two lines"))]
        })
    }
}

/// The line that ends before a position. (The position at which a record begins is before the comments and empty lines
/// that precede it.)
fn line_before(position: &csv::Position) -> u32 {
    u32::try_from(position.line().saturating_sub(1)).unwrap_or(u32::MAX)
}

/// Ends of lines within a record.
fn lines_within(record: &csv::StringRecord) -> u32 {
    record.as_slice().bytes().filter(|byte| *byte == b'\n').count() as u32
}
