//! Access tokens (GoCD: AccessTokenDao).

use super::{Database, DatabaseError};
use crate::server::access::HashedToken;

impl Database {
    /// Every token that was not revoked.
    ///
    /// # Errors
    ///
    /// When the database is lost.
    pub(in crate::server) async fn tokens(&self) -> Result<Vec<HashedToken>, DatabaseError> {
        let sql = "SELECT value, saltvalue, username FROM accesstoken WHERE NOT revoked";
        let rows = self.client().await?.query(sql, &[]).await?;
        Ok(rows.iter().map(|row| HashedToken { value: row.get(0), salt: row.get(1), user: row.get(2) }).collect())
    }

    /// Grants a token.
    ///
    /// # Errors
    ///
    /// When the database is read-only or lost.
    pub(in crate::server) async fn grant(&self, token: &HashedToken) -> Result<(), DatabaseError> {
        let sql = "INSERT INTO accesstoken (value, saltvalue, username) VALUES ($1, $2, $3)";
        self.client().await?.execute(sql, &[&token.value, &token.salt, &token.user]).await?;
        Ok(())
    }
}
