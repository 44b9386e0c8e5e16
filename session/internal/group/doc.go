// Package group is a session as its members live it: the Moderator, who has opened it and alone changes its membership,
// and the Participants, who were invited. A point-to-point session is a group of two.
//
//	Event ──Step──▶ machine ──▶ Outputs, in the order in which they are to be applied
//	  message, command, answer        send, subscribe, deliver, resolve, notify, end
//	  of the node, time               and a deadline for the next Tick
//
// The machines do no I/O, have no clock and no goroutine. What a Step wants done is appended to Out; nothing of it may be
// left out or overtaken. Control messages are verified by whoever has the keys of tokens before they come here, as
// Inbound.Claims; all other checks are made here.
//
// Data that comes together (Inbound.More, and Rest after it) is acknowledged together: to members that use this package by one message for
// up to 32 of theirs (message.KeySince), to peers by one for each. What outputs point to is the machine's again when they are done
// (Recycle).
//
// A machine whose session is stored says what has changed (Changes) before its outputs are applied, and a Snapshot of such records makes
// it anew: it repeats what was not acknowledged, subscribes to its channel, and tells the others that it is back.
//
// One goroutine at a time uses a machine.
package group
