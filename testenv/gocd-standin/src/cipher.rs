//! GoCD's secrets at rest: `AES:<iv>:<text>`, both base64, AES-128 in CBC mode with PKCS #5 padding, under the key in
//! `cipher.aes` (GoCD: AESEncrypter, AESCipherProvider).

use std::fs;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aes::Aes128;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use thiserror::Error;

/// The key of one site.
pub(crate) struct Cipher {
    key: [u8; 16],
}

/// Why `cipher.aes` cannot be used.
#[derive(Debug, Error)]
pub(crate) enum CipherError {
    /// The file could not be read or written.
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: std::io::Error },
    /// The file does not hold 32 hexadecimal digits.
    #[error("{}: expected 32 hexadecimal digits", path.display())]
    NoKey { path: PathBuf },
    /// The system gave no random bytes.
    #[error("no random bytes: {0}")]
    Random(getrandom::Error),
}

/// Why an encrypted value cannot be read.
#[derive(Debug, PartialEq, Eq, Error)]
pub(crate) enum DecryptError {
    /// Not of the form `AES:<iv>:<text>`.
    #[error("not of the form AES:<iv>:<text>")]
    Form,
    /// The key is another one, or the text was changed.
    #[error("the cipher text is modified, or was made with another cipher.aes")]
    Key,
}

impl Cipher {
    /// The key in `path`; a fresh one, written there, if the file is missing, as GoCD does without a word.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or written, or holds no key; then it is unchanged.
    pub(crate) fn load_or_create(path: &Path) -> Result<Self, CipherError> {
        let file = |source| CipherError::File { path: path.to_owned(), source };
        match fs::read_to_string(path) {
            Ok(text) => parse_hex(text.trim())
                .map(|key| Self { key })
                .ok_or_else(|| CipherError::NoKey { path: path.to_owned() }),
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let mut key = [0; 16];
                getrandom::fill(&mut key).map_err(CipherError::Random)?;
                let mut new =
                    fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(file)?;
                new.write_all(to_hex(key).as_bytes()).and_then(|()| new.sync_all()).map_err(file)?;
                Ok(Self { key })
            }
            Err(error) => Err(file(error)),
        }
    }

    /// Encrypts `plain` under a fresh random IV.
    ///
    /// # Errors
    ///
    /// When the system gives no random bytes.
    pub(crate) fn encrypt(&self, plain: &str) -> Result<String, CipherError> {
        let mut iv = [0; 16];
        getrandom::fill(&mut iv).map_err(CipherError::Random)?;
        let text =
            cbc::Encryptor::<Aes128>::new(&self.key.into(), &iv.into()).encrypt_padded_vec::<Pkcs7>(plain.as_bytes());
        Ok(format!("AES:{}:{}", BASE64_STANDARD.encode(iv), BASE64_STANDARD.encode(text)))
    }

    /// Decrypts a value of the form `AES:<iv>:<text>`.
    ///
    /// # Errors
    ///
    /// [`DecryptError`]; another key is noticed by the padding and the encoding, which by chance may fit.
    pub(crate) fn decrypt(&self, value: &str) -> Result<String, DecryptError> {
        let (iv, text) = value.strip_prefix("AES:").and_then(|rest| rest.split_once(':')).ok_or(DecryptError::Form)?;
        let decode = |text| BASE64_STANDARD.decode(text).map_err(|_| DecryptError::Form);
        let iv: [u8; 16] = decode(iv)?.try_into().map_err(|_| DecryptError::Form)?;
        let plain = cbc::Decryptor::<Aes128>::new(&self.key.into(), &iv.into())
            .decrypt_padded_vec::<Pkcs7>(&decode(text)?)
            .map_err(|_| DecryptError::Key)?;
        String::from_utf8(plain).map_err(|_| DecryptError::Key)
    }
}

fn parse_hex(text: &str) -> Option<[u8; 16]> {
    (text.len() == 32 && text.bytes().all(|byte| byte.is_ascii_hexdigit()))
        .then(|| u128::from_str_radix(text, 16).ok().map(u128::to_be_bytes))
        .flatten()
}

fn to_hex(key: [u8; 16]) -> String {
    format!("{:032x}", u128::from_be_bytes(key))
}

#[cfg(test)]
mod tests {
    use super::{Cipher, CipherError, DecryptError, parse_hex};
    use proptest::prelude::{any, proptest};

    #[test]
    fn what_openssl_encrypted_is_read() {
        // printf secret | openssl enc -aes-128-cbc -K 000102…0f -iv 101112…1f | base64
        let cipher = Cipher { key: std::array::from_fn(|at| u8::try_from(at).unwrap()) };
        assert_eq!(cipher.decrypt("AES:EBESExQVFhcYGRobHB0eHw==:FrOlo11LY0Fyd5OaEWQw9g==").as_deref(), Ok("secret"));
    }

    #[test]
    fn what_is_not_an_encrypted_value_is_refused() {
        let cipher = Cipher { key: [7; 16] };
        for value in ["", "secret", "AES:", "AES::", "AES:EBES:EBES", "AES:EBESExQVFhcYGRobHB0eHw==:?"] {
            assert_eq!(cipher.decrypt(value), Err(DecryptError::Form), "{value}");
        }
        assert_eq!(cipher.decrypt("AES:EBESExQVFhcYGRobHB0eHw==:EBES"), Err(DecryptError::Key), "not a whole block");
    }

    #[test]
    fn a_missing_key_is_made_and_kept() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cipher.aes");
        let made = Cipher::load_or_create(&path).unwrap();
        let read = Cipher::load_or_create(&path).unwrap();
        assert_eq!(made.key, read.key);
    }

    #[test]
    fn a_file_without_a_key_is_refused_and_left_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cipher.aes");
        for text in ["", "0123", "+123456789abcdef0123456789abcdef", "0123456789abcdef0123456789abcdefff"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(Cipher::load_or_create(&path), Err(CipherError::NoKey { .. })), "{text}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }

    proptest! {
        #[test]
        fn what_is_encrypted_is_decrypted(key in any::<[u8; 16]>(), plain in ".*") {
            let cipher = Cipher { key };
            assert_eq!(cipher.decrypt(&cipher.encrypt(&plain).unwrap()), Ok(plain));
        }

        #[test]
        fn another_key_does_not_give_the_plain_text(key in any::<[u8; 16]>(), other in any::<[u8; 16]>(), plain in ".+") {
            if key != other {
                let value = Cipher { key }.encrypt(&plain).unwrap();
                assert_ne!(Cipher { key: other }.decrypt(&value), Ok(plain));
            }
        }

        #[test]
        fn a_key_survives_its_file(key in any::<[u8; 16]>()) {
            assert_eq!(parse_hex(&super::to_hex(key)), Some(key));
        }
    }
}
