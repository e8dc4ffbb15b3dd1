//! Whether a `cruise-config.xml` is whole.
//!
//! GoCD writes the file in place (set length to zero, write, no rename), and a server that finds it broken boots from an
//! older one out of its history with no more than a warning. So a file that does not parse to its end never travels.

use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;

/// Why a configuration is not whole.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Torn {
    #[error("it is empty")]
    Empty,
    #[error("it is not UTF-8 text")]
    NotText,
    #[error("at byte {at}: {problem}")]
    IllFormed { at: u64, problem: String },
    #[error("its root element is <{0}>, expected <cruise>")]
    Foreign(String),
    #[error("it ends inside <cruise>")]
    EndsEarly,
    #[error("something follows </cruise>")]
    GoesOn,
}

/// Reads `bytes` to the end: one `<cruise>` element, every tag closed, every attribute well-formed, and nothing after it.
///
/// # Errors
/// Says where and why it is not whole.
pub(crate) fn check(bytes: &[u8]) -> Result<(), Torn> {
    let text = std::str::from_utf8(bytes).map_err(|_| Torn::NotText)?;
    let mut reader = Reader::from_str(text.strip_prefix('\u{feff}').unwrap_or(text));
    let mut depth = 0_usize;
    let mut closed = false;
    loop {
        let event = reader.read_event();
        let at = reader.buffer_position();
        let ill_formed = |problem: String| Torn::IllFormed { at, problem };
        match event.map_err(|error| ill_formed(error.to_string()))? {
            Event::Start(tag) => {
                begin(&tag, depth, closed, at)?;
                depth += 1;
            }
            Event::Empty(tag) => {
                begin(&tag, depth, closed, at)?;
                closed |= depth == 0;
            }
            Event::End(_) => {
                depth = depth.saturating_sub(1);
                closed |= depth == 0;
            }
            Event::Text(text) if depth > 0 || text.bytes().all(|byte| byte.is_ascii_whitespace()) => {}
            Event::CData(_) | Event::GeneralRef(_) if depth > 0 => {}
            Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) if closed => return Err(Torn::GoesOn),
            Event::Text(_) | Event::CData(_) | Event::GeneralRef(_) => {
                return Err(ill_formed("text before <cruise>".to_owned()));
            }
            Event::Eof if closed => return Ok(()),
            Event::Eof if depth > 0 => return Err(Torn::EndsEarly),
            Event::Eof => return Err(Torn::Empty),
            Event::Comment(_) | Event::Decl(_) | Event::PI(_) | Event::DocType(_) => {}
        }
    }
}

/// Checks a tag that opens an element: its attributes, and at the top that it is the one `<cruise>`.
fn begin(tag: &BytesStart<'_>, depth: usize, closed: bool, at: u64) -> Result<(), Torn> {
    let name = tag.name();
    if depth == 0 && closed {
        return Err(Torn::GoesOn);
    }
    if depth == 0 && name.as_ref() != "cruise" {
        return Err(Torn::Foreign(name.as_ref().to_owned()));
    }
    match tag.attributes().find_map(Result::err) {
        Some(error) => Err(Torn::IllFormed { at, problem: error.to_string() }),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"<?xml version="1.0" encoding="utf-8"?>
<cruise xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" schemaVersion="139">
  <!-- the server -->
  <server serverId="6d1f" tokenGenerationKey="a&amp;b"><siteUrls/></server>
  <pipelines group="x"><pipeline name="p"><![CDATA[ </cruise> ]]></pipeline></pipelines>
</cruise>
"#;

    #[test]
    fn a_whole_configuration_is_whole() {
        check(WHOLE.as_bytes()).unwrap();
        check(b"<cruise/>").unwrap();
        check("\u{feff}<cruise></cruise>".as_bytes()).unwrap();
    }

    #[test]
    fn cut_off_anywhere_it_is_not() {
        let end = WHOLE.trim_end().len();
        for length in 0..end {
            assert!(check(&WHOLE.as_bytes()[..length]).is_err(), "{:?}", &WHOLE[..length]);
        }
    }

    #[test]
    fn what_is_no_configuration_is_not() {
        let table: [&[u8]; 11] = [
            b"",
            b"   \n",
            b"cruise",
            b"<html></html>",
            b"<cruise></cruise><cruise></cruise>",
            b"<cruise></cruise>\0\0\0",
            b"<cruise></cruise>x",
            b"<cruise><a></b></cruise>",
            b"<cruise a=1></cruise>",
            b"<cruise a='1' a='2'></cruise>",
            b"<cruise>\xff</cruise>",
        ];
        for bytes in table {
            assert!(check(bytes).is_err(), "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    /// The file while GoCD writes a shorter one over a longer one: the new text with the old tail.
    #[test]
    fn a_short_configuration_over_the_tail_of_a_long_one_is_not() {
        let mut bytes = WHOLE.as_bytes().to_vec();
        let shorter = b"<cruise schemaVersion=\"139\"></cruise>\n";
        bytes[..shorter.len()].copy_from_slice(shorter);
        assert!(check(&bytes).is_err());
    }
}
