//! The ways in which secrets are damaged or misplaced.
//!
//! Owns: [`KEYS`], [`PASSWORDS`], [`USERS`], [`INLINE`], [`VARIABLES`]. Never knows: how they are reported.

/// What it is, and how it comes from the whole text.
pub type Damage = (&'static str, fn(&str) -> Vec<u8>);

fn body(key: &str) -> String {
    key.lines().filter(|line| !line.starts_with('-')).collect()
}

/// A key file that no longer is one.
pub const KEYS: &[Damage] = &[
    ("blanks for line ends", |key| key.replace('\n', " ").into()),
    ("no line ends", |key| key.replace('\n', "").into()),
    ("backslash n for line ends", |key| key.replace('\n', "\\n").into()),
    ("tabs for line ends", |key| key.replace('\n', "\t").into()),
    ("base64 alone", |key| body(key).into()),
    ("base64 of base64 lines", |key| body(key).as_bytes().repeat(3)),
    ("no END", |key| key.replace("-----END PRIVATE KEY-----", "").into()),
    ("no BEGIN", |key| key.replace("-----BEGIN PRIVATE KEY-----\n", "").into()),
    ("END of another name", |key| key.replace("END PRIVATE", "END EC PRIVATE").into()),
    ("half", |key| key.as_bytes()[..key.len() / 2].to_vec()),
    ("a byte order mark", |key| format!("\u{feff}{key}").into()),
    ("UTF-16", |key| {
        let units = "\u{feff}".encode_utf16().chain(key.encode_utf16());
        units.flat_map(u16::to_le_bytes).collect()
    }),
    ("JSON", |key| format!("{{\"key\": {key:?}}}").into()),
    ("quotes", |key| format!("\"{key}\"").into()),
    ("quotes on one line", |key| format!("{key:?}").into()),
    ("YAML", |key| format!("key: {key}").into()),
    ("indented YAML", |key| {
        let lines: Vec<String> = key.lines().map(|line| format!("  {line}\n")).collect();
        ("key: |\n".to_owned() + &lines.concat()).into()
    }),
    ("a foreign character", |key| key.replacen('A', "!", 2).into()),
    ("a missing character", |key| key.replacen("AgE", "Ag", 1).into()),
    ("a key under the name of a certificate", |key| {
        key.replace("PRIVATE KEY", "CERTIFICATE").into()
    }),
    ("a key under the name of an encrypted one", |key| {
        key.replace("PRIVATE KEY", "ENCRYPTED PRIVATE KEY").into()
    }),
    ("another form's name", |key| key.replace("PRIVATE KEY", "RSA PRIVATE KEY").into()),
    ("four dashes", |key| key.replace("-----BEGIN", "----BEGIN").into()),
    ("BEGIN and body on one line", |key| key.replacen("-----\n", "-----", 1).into()),
    ("twice", |key| key.repeat(2).into()),
    ("wrong letters of the name", |key| key.replace("PRIVATE", "Private").into()),
    ("DER", |key| {
        let digits = body(key);
        let digit = |byte: u8| {
            let all = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            u32::try_from(all.iter().position(|own| *own == byte).unwrap_or(0)).unwrap()
        };
        let fours = digits.as_bytes().chunks(4);
        let number = |four: &[u8]| four.iter().fold(0, |number, byte| number << 6 | digit(*byte));
        fours.flat_map(|four| number(four).to_be_bytes()[1..].to_vec()).collect()
    }),
];

/// A password file that holds something else than the server's password.
pub const PASSWORDS: &[Damage] = &[
    ("blanks around", |password| format!("  {password}  \n").into()),
    ("two lines", |password| format!("{password}\n{password}\n").into()),
    ("quotes", |password| format!("\"{password}\"").into()),
    ("an assignment", |password| format!("password={password}").into()),
    ("JSON", |password| format!("{{\"password\": \"{password}\"}}").into()),
    ("a NUL", |password| format!("{password}\0x").into()),
    ("not UTF-8", |password| [password.as_bytes(), &[0xff, 0xfe]].concat()),
    ("a byte order mark", |password| format!("\u{feff}{password}").into()),
    ("RESP", |password| format!("x\r\n+{password}\r\n*1\r\n").into()),
    ("too large", |password| password.repeat(3000).into()),
];

/// An ACL file with a mistake beside a password.
pub const USERS: &[(&str, &str)] = &[
    ("no sign", "user u on SECRET ~*"),
    ("a blank behind the sign", "user u on > SECRET ~*"),
    ("a wrong hash", "user u on #SECRET ~*"),
    ("not there", "user u on <SECRET ~*"),
    ("a hash that is not there", "user u on !SECRET ~*"),
    ("a selector", "user u on (>SECRET ~*)"),
    ("an open selector", "user u on (>SECRET ~*"),
    ("no user", ">SECRET on"),
    ("a command", "user u on +SECRET"),
    ("a category", "user u on +@SECRET"),
    ("twice", "user u on >SECRET\nuser u on >SECRET"),
    ("requirepass", "requirepass SECRET"),
    ("an assignment", "user u on password=SECRET"),
    ("quotes", "user u on \">SECRET\""),
    ("a database", "user u on db=SECRET"),
];

/// A secret in the configuration itself: the text that is replaced, and the text instead of it.
pub const INLINE: &[(&str, &str, &str)] = &[
    ("a password", "[policy]", "[upstream.x]\npassword = \"SECRET\"\n[policy]"),
    ("in the address", "localhost:", "rediss://app:SECRET@localhost:"),
    ("in the address without host", "localhost:", "app:SECRET@localhost:"),
    ("for the port", "address = \"localhost:", "address = \"localhost:SECRET:"),
    ("behind the port", "auth = {", "address = \"h:1/SECRET\"\nauth = {"),
    ("as variable", "password_file = \"", "password_env = \"SECRET\", x = \""),
    ("as path", "password_file = \"/", "password_file = \"SECRET\", x = \"/"),
    ("a key for its path", "key = \"", "key = '''KEY''', x = \""),
    ("a key in one line", "key = \"", "key = \"\"\"KEY\"\"\", x = \""),
    ("a quote too few", "username = \"app\"", "username = \"app\", password = \"SECRET"),
    ("no quotes", "username = \"app\"", "username = \"app\", password = SECRET"),
    ("in the rules", "+@all ~* &*", "+@all >SECRET ~* &*"),
    ("in the rules without sign", "+@all ~* &*", "+@all SECRET ~* &*"),
    ("a user", "[users]", "[[user]]\nname = \"a\"\npasswords = [\"SECRET\"]\n[users]"),
    ("a user's in a table", "[users]", "[[user]]\nname = \"a\"\npassword = \"SECRET\"\n[users]"),
    ("at the listener", "auth = \"users\"", "auth = \"SECRET\""),
    ("a listener's password", "auth = \"users\"", "password = \"SECRET\""),
];

/// Variables that take, or do not take, a secret.
pub const VARIABLES: &[&str] = &[
    "RESPGATE__UPSTREAM__AUTH__PASSWORD",
    "RESPGATE__UPSTREAM__AUTH__PASSWORD_FILE",
    "RESPGATE__UPSTREAM__AUTH__PASSWORD_ENV",
    "RESPGATE__UPSTREAM__AUTH__TOKEN",
    "RESPGATE__UPSTREAM__AUTH",
    "RESPGATE__UPSTREAM__PASSWORD",
    "RESPGATE__UPSTREAM__ADDRESS",
    "RESPGATE__UPSTREAM__TLS__KEY",
    "RESPGATE__UPSTREAM__TLS__CERT",
    "RESPGATE__UPSTREAM__TLS__CA",
    "RESPGATE__UPSTREAM__TLS",
    "RESPGATE__LISTENER__0__PASSWORD",
    "RESPGATE__LISTENER__0__PASSWORD_FILE",
    "RESPGATE__LISTENER__0__AUTH",
    "RESPGATE__LISTENER",
    "RESPGATE__USERS__ACL_FILE",
    "RESPGATE__USER__0__PASSWORDS",
    "RESPGATE__POLICY__ACL",
    "RESPGATE__ADMIN__SOCKET",
];
