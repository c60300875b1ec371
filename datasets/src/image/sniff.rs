//! Says what bytes that are no picture look like.

/// A short phrase for an error message.
pub(super) fn describe(bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return "an empty file".into();
    }
    let known: [(&[u8], &str); 15] = [
        (b"PK\x03\x04", "a ZIP archive"),
        (b"\x1f\x8b", "a gzip archive"),
        (b"%PDF", "a PDF document"),
        (b"8BPS", "a Photoshop document"),
        (b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture"),
        (b"\xff\x0a", "a JPEG XL picture"),
        (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture"),
        (b"\x00\x00\x01\x00", "a Windows icon"),
        (b"\x93NUMPY", "a NumPy array"),
        (b"\x80\x02", "a Python pickle"),
        (b"\x7fELF", "a program"),
        (b"OggS", "Ogg audio"),
        (b"ID3", "MP3 audio"),
        (b"fLaC", "FLAC audio"),
        (
            b"version https://git-lfs",
            "a Git LFS pointer in place of its file",
        ),
    ];
    if let Some((_, name)) = known.iter().find(|(magic, _)| bytes.starts_with(magic)) {
        return (*name).into();
    }
    match bytes.get(4..12) {
        Some(b"ftypavif" | b"ftypavis") => return "an AVIF picture".into(),
        Some(b"ftypheic" | b"ftypheix" | b"ftypmif1" | b"ftyphevc") => {
            return "a HEIC picture".into();
        }
        Some(brand) if brand.starts_with(b"ftyp") => return "a video".into(),
        _ => {}
    }
    if bytes.starts_with(b"RIFF") {
        return match bytes.get(8..12) {
            Some(b"WAVE") => "WAV audio".into(),
            Some(b"AVI ") => "a video".into(),
            _ => "a RIFF file".into(),
        };
    }
    describe_text(bytes)
}

fn describe_text(bytes: &[u8]) -> String {
    let head = String::from_utf8_lossy(&bytes[..bytes.len().min(512)]);
    let head = head.trim_start_matches('\u{feff}').trim_start();
    let lower = head.to_ascii_lowercase();
    if lower.contains("<svg") {
        return "an SVG drawing (vector graphics)".into();
    }
    if lower.starts_with("<!doctype html") || lower.starts_with("<html") || lower.contains("<head")
    {
        return "an HTML page".into();
    }
    if lower.starts_with("<?xml") {
        return "an XML file".into();
    }
    // A cut at 512 bytes may split a character, which reads as one replacement.
    let printable = |c: char| !c.is_control() || c.is_whitespace();
    if head
        .chars()
        .filter(|&c| !printable(c) || c == '\u{fffd}')
        .count()
        <= 1
    {
        let start: String = head.chars().take(24).filter(|&c| c != '\u{fffd}').collect();
        let kind = if head.starts_with(['{', '[']) {
            "JSON"
        } else {
            "text"
        };
        return format!(
            "{kind} that begins '{}'",
            start.trim_end().replace(['\n', '\r', '\t'], " ")
        );
    }
    let start: Vec<String> = bytes
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    format!("unknown binary data that begins {}", start.join(" "))
}

#[cfg(test)]
mod tests {
    use super::describe;

    #[test]
    fn common_mistakes_are_named() {
        assert_eq!(describe(b""), "an empty file");
        assert_eq!(describe(b"PK\x03\x04rest"), "a ZIP archive");
        assert_eq!(describe(b"\n<!DOCTYPE html><html>404"), "an HTML page");
        assert_eq!(
            describe(b"<?xml version='1.0'?><svg width='1'/>"),
            "an SVG drawing (vector graphics)"
        );
        assert_eq!(describe(b"\x00\x00\x00\x1cftypavif...."), "an AVIF picture");
        assert_eq!(describe(b"hello\nworld"), "text that begins 'hello world'");
        assert_eq!(describe(b"{\"a\": 1}"), "JSON that begins '{\"a\": 1}'");
        assert_eq!(
            describe(&[1, 2, 3, 0xFE]),
            "unknown binary data that begins 01 02 03 fe"
        );
    }
}
