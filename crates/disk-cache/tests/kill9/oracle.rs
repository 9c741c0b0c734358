//! What the parent heard, and what a cache may therefore hold after the kill.

use crate::work::{KEYS, Verb, body, key, meta, namespace, open};
use cache_testkit::{Loss, Model, Seen, Stored, Ticket};
use disk_cache::{BackendChoice, Durability, GetOptions, PurgeMode, PurgeScope};
use std::{collections::HashMap, path::Path};

/// What the parent heard.
#[derive(Default)]
pub(crate) struct Oracle {
    model: Model,
    lines: u64,
    pub(crate) serial: u64,
    begun: HashMap<u64, (Verb, Option<Ticket>)>,
    pub(crate) evicted: bool,
}

impl Oracle {
    pub(crate) fn hear(&mut self, line: &str) {
        self.lines += 1;
        let words: Vec<&str> = line.split(' ').collect();
        match words.as_slice() {
            ["begin", serial, rest @ ..] => {
                let serial: u64 = serial.parse().unwrap();
                self.serial = serial;
                let verb = Verb::hear(rest).unwrap();
                let ticket = self.begin(serial, verb);
                self.begun.insert(serial, (verb, ticket));
            }
            ["done", serial, did] => {
                let (verb, ticket) = self.begun.remove(&serial.parse().unwrap()).unwrap();
                match (verb, ticket) {
                    (Verb::Flush, _) => self.model.flushed(self.lines),
                    (_, Some(ticket)) if *did == "false" => self.model.withdraw(ticket),
                    (_, None) => assert_eq!(*did, "false", "{verb:?} found what cannot be there"),
                    (Verb::Insert { level, .. } | Verb::Remove { level, .. }, Some(ticket)) => {
                        self.model.acknowledge(ticket, self.lines, level);
                    }
                    (Verb::Meta { .. }, Some(ticket)) => {
                        self.model.acknowledge(ticket, self.lines, Durability::Buffered);
                    }
                    (Verb::Purge { .. }, Some(ticket)) => {
                        self.model.acknowledge(ticket, self.lines, Durability::Synced);
                    }
                }
            }
            ["evicted"] => self.evicted = true,
            _ => {}
        }
    }

    fn begin(&mut self, serial: u64, verb: Verb) -> Option<Ticket> {
        let (model, now) = (&mut self.model, self.lines);
        Some(match verb {
            Verb::Insert { key: n, len, .. } => {
                let out_of_line = len > 2048;
                let stored =
                    Stored { body: body(serial, len), meta: meta(serial), out_of_line, ..Stored::default() };
                model.insert(now, &key(n), stored)
            }
            Verb::Remove { key: n, .. } => model.remove(now, &key(n)),
            Verb::Meta { key: n } => return model.update_meta(now, &key(n), meta(serial), None),
            Verb::Purge { namespace: n } => {
                let scope = PurgeScope::Namespace(namespace(n).into());
                model.purge(now, scope, PurgeMode::Remove)
            }
            Verb::Flush => return None,
        })
    }

    /// Opens what the killed process left and compares.
    pub(crate) async fn check(&mut self, dir: &Path, backend: BackendChoice) {
        let cache = open(dir, backend).await.unwrap();
        let stats = cache.stats();
        self.evicted |= stats.evictions + stats.early_evictions > 0;
        for n in 0..KEYS {
            let seen = match cache
                .get_with(&key(n), GetOptions::new().peek(true).allow_stale(true))
                .await
                .unwrap()
            {
                None => None,
                Some(hit) => {
                    let body = hit.bytes().await.unwrap();
                    Some(Seen { body, meta: hit.meta().clone(), stale: hit.is_stale() })
                }
            };
            let permitted = self.model.permitted(&key(n), Loss::Kill, u64::MAX);
            if let Err(wrong) = permitted.check(seen.as_ref(), 0, self.evicted) {
                panic!("key {n}: {wrong}");
            }
            self.model.settle(&key(n), Loss::Kill, seen.as_ref(), self.evicted);
        }
        self.begun.clear();
        cache.close().await.unwrap();
    }
}
