// How a user differs, in words, and what of a comparison's options repairs that.

export const KINDS = {
  missing: ["At the source but not in the replica.", "repair"],
  stale: ["The replica has an older version than the source.", "repair"],
  undeleted: ["Deleted at the source, not in the replica.", "repair"],
  corrupt: ["Same version, different content: the replica was modified directly.", "repair"],
  ahead: ["The replica has a newer version: the source was restored to an earlier state, or the replica was modified directly.", "ahead"],
  orphan: ["In the replica, unknown to the source.", "orphans"],
  undone_deletion: ["Deleted in the replica, not at the source, which was restored to an earlier state. Delete the user there again: auth-service users erase ID.", null],
  provisional_orphan: ["An id from a valid token, unknown to the source.", "orphans"],
};
