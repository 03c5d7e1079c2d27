//! Fields of CSV for people, who may open it in a spreadsheet.

/// Writes a field of RFC 4180: nothing for null, quotes for an empty text, a `'` before what a spreadsheet would run.
pub(crate) fn push_field(text: &mut String, field: Option<&str>) {
    let Some(field) = field else { return };
    let is_formula = field.starts_with(['=', '+', '-', '@', '\t', '\r']) && !is_number(field);
    let quoted = field.is_empty() || field.contains([',', '"', '\r', '\n']) || field.trim() != field;
    if quoted {
        text.push('"');
    }
    if is_formula {
        text.push('\'');
    }
    if quoted {
        text.push_str(&field.replace('"', "\"\""));
        text.push('"');
    } else {
        text.push_str(field);
    }
}

fn is_number(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit() || b"+-.eE".contains(&byte)) && text.parse::<f64>().is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn field(text: Option<&str>) -> String {
        let mut out = String::new();
        push_field(&mut out, text);
        out
    }

    #[test]
    fn a_field_tells_null_from_empty_and_runs_in_no_spreadsheet() {
        assert_eq!(field(None), "");
        assert_eq!(field(Some("")), "\"\"");
        assert_eq!(field(Some("a \"b\", c")), "\"a \"\"b\"\", c\"");
        assert_eq!(field(Some("=HYPERLINK(\"x\")")), "\"'=HYPERLINK(\"\"x\"\")\"");
        assert_eq!(field(Some("-1+2")), "'-1+2");
        assert_eq!(field(Some("-1.5e+21")), "-1.5e+21");
        assert_eq!(field(Some("@x")), "'@x");
    }
}
