use holdall::Settings;

use crate::{refused, text};

const SECRET: &str = "hunter2";

/// The URL of a backend. What is accepted says the same twice, and a password
/// is never shown, whatever stands around it.
pub fn url(data: &[u8]) -> bool {
    let Some(text) = text(data) else {
        return false;
    };
    if !text.contains(SECRET) {
        hides(&format!("some://user:{SECRET}@{text}"));
        hides(&format!("some:place?password={SECRET}{text}"));
        hides(&format!("some://place?password={SECRET}{text}"));
    }
    let settings = match Settings::parse(text) {
        Ok(settings) => settings,
        Err(error) => {
            refused(&error);
            return false;
        }
    };
    assert_eq!(Settings::parse(text).ok().as_ref(), Some(&settings));
    let scheme = settings.scheme();
    assert!(text.to_ascii_lowercase().starts_with(&format!("{scheme}:")));
    assert!(text.contains(settings.location()));
    assert!(!settings.path().contains('\0'));
    for (name, value) in settings.options() {
        assert!(!name.is_empty() && !name.contains('\0') && !value.contains('\0'));
        assert_eq!(settings.option(name), Some(value));
        let again = settings.clone().with(name, value);
        refused(&again.expect_err("an option stands once"));
    }
    assert!(!settings.to_string().contains(char::is_control));
    true
}

fn hides(url: &str) {
    let shown = match Settings::parse(url) {
        Ok(settings) => format!("{settings} {settings:?}"),
        Err(error) => format!("{error} {error:?}"),
    };
    assert!(!shown.contains(SECRET), "{url:?} is shown as {shown}");
}
