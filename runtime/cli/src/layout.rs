//! Text for people, in lines of a width that can be read.

/// The width of what is printed, but for words that are longer.
const WIDTH: usize = 100;

/// Words after a label, with lines after the first indented as far.
pub(super) fn wrapped<'a>(label: &str, words: impl IntoIterator<Item = &'a str>) -> String {
    let indent = label.chars().count();
    let mut text = label.to_owned();
    let mut column = indent;
    for word in words {
        let width = word.chars().count();
        if column > indent && column + 1 + width > WIDTH {
            text.push('\n');
            text.push_str(&" ".repeat(indent));
            column = indent;
        } else if column > indent {
            text.push(' ');
            column += 1;
        }
        text.push_str(word);
        column += width;
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::wrapped;

    #[test]
    fn words_are_wrapped_below_each_other() {
        let words = vec!["abcdefghi"; 12];
        let text = wrapped("  allow   ", words);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].len(), 99);
        assert_eq!(lines[1], format!("{}abcdefghi abcdefghi abcdefghi", " ".repeat(10)));
        assert_eq!(wrapped("a ", []), "a \n");
    }
}
