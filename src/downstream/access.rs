//! The policy in force for a client: its user's, under the listener's current access rules.
//!
//! Owns: when it is looked up again. Never knows: users, the rules of a policy.

use std::sync::Arc;

use super::conversation::Conversation;
use super::links::Links;
use crate::command::{self, Effect, Spec};
use crate::policy::keeps_subscriptions;
use crate::session::{ClientEntry, Marks, figures_of};
use crate::telemetry::ClientDisconnect;

/// Takes up what a reload has put in force. Redis cuts off the clients of a deleted user (acl.c
/// `ACLFreeUserAndKillClients`), and of a changed one those that may no longer receive what they are
/// subscribed to (`ACLKillPubsubClientsIfNeeded`). Here that is each client that is subscribed to anything,
/// as soon as one of its channels is denied.
#[inline(always)]
pub(super) fn refresh(conversation: &mut Conversation, links: &mut Links) {
    if links.access.refresh() {
        take_up(conversation, links);
    }
}

fn take_up(conversation: &mut Conversation, links: &mut Links) {
    let old = Arc::clone(&links.policy);
    conversation.settle_policy(links);
    if Arc::ptr_eq(&old, &links.policy) {
        return;
    }
    let session = conversation.session();
    // What is streamed is not asked for any more, so it is not judged again.
    let streams = session.is_streaming();
    if streams || (session.subscribes() && !keeps_subscriptions(&links.policy, &old)) {
        conversation.end_now(ClientDisconnect::Auth);
    }
}

/// Like [`refresh`], for a client that sends nothing.
#[inline(always)]
pub(super) fn notice(conversation: &mut Conversation, links: &mut Links) {
    let changes = links.worker.access_changes();
    if std::mem::replace(&mut links.access_seen, changes) != changes {
        refresh(conversation, links);
    }
    if links.entry.take_newly_blocked() {
        notice_block(conversation, links);
    }
}

/// The connection is to end: now, if the client was killed, or once no reply is outstanding. What was asked
/// once and goes on ends now as well.
pub(super) fn end(conversation: &mut Conversation, entry: &ClientEntry) {
    if entry.is_killed() {
        return conversation.end_now(ClientDisconnect::Killed);
    }
    let Some((why, until)) = entry.retired() else { return };
    let session = conversation.session();
    let goes_on = session.subscribes()
        || session.is_blocked()
        || session.is_streaming()
        || monitors(conversation);
    if goes_on || conversation.now() >= until {
        conversation.end_now(why);
    }
}

/// An operator has denied more to this client: what it has queued is judged by other rules now, and
/// what was asked once and goes on ends with the connection.
fn notice_block(conversation: &mut Conversation, links: &Links) {
    conversation.session_mut().handle_new_policy();
    let session = conversation.session();
    let denied = |spec: &'static Spec| links.entry.block_of(spec).is_some();
    let any = |effect| command::all().iter().filter(|spec| spec.effect == effect).any(denied);
    let goes_on = (session.subscribes() && any(Effect::Subscribe))
        || (monitors(conversation) && any(Effect::Monitor))
        || (session.is_streaming() && any(Effect::Replicate { streams: true }))
        || (session.is_blocked() && session.shown_command().is_some_and(denied));
    if goes_on {
        conversation.end_now(ClientDisconnect::Blocked);
    }
}

/// Whether it is sent all commands of others.
fn monitors(conversation: &Conversation) -> bool {
    figures_of(conversation.session(), conversation.active_at()).marks.has(Marks::MONITOR)
}
