use holdall::Config;

use crate::{refused, text};

const SECRET: &str = "hunter2";

/// The text of a `holdall.toml`, or the same as JSON. In what is accepted
/// every name leads somewhere, and an error shows no password.
pub fn config(data: &[u8]) -> bool {
    let Some(text) = text(data) else {
        return false;
    };
    if !text.contains(SECRET) {
        let url = format!("some://user:{SECRET}@place");
        let before = format!("[backends.secret]\nurl = \"{url}\"\n{text}");
        let beside = format!("backends.secret.url = \"{url}\" {text}");
        for text in [before, beside] {
            if let Err(error) = Config::parse(&text) {
                let shown = format!("{error} {error:?}");
                assert!(!shown.contains(SECRET), "{shown}");
            }
        }
    }
    let json = serde_json::from_str(text);
    let read = json.map_or_else(|_| Config::parse(text), |json| Config::from_json(&json));
    let config = match read {
        Ok(config) => config,
        Err(error) => {
            refused(&error);
            return false;
        }
    };
    let default = config.default_name().into_iter();
    let used = config.models().values().map(|model| model.store.as_str());
    for name in default.chain(used) {
        let store = config.store(name).expect("a name that leads somewhere");
        assert!(config.backends().contains_key(&store.backend));
    }
    for store in config.stores().values() {
        assert!(config.backends().contains_key(&store.backend));
    }
    true
}
