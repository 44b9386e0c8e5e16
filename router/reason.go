package router

import (
	"fmt"

	"github.com/seed31b3bfd0/slimgo/router/hop"
	"github.com/seed31b3bfd0/slimgo/router/transport"
)

// Reason says why a message died or a peer was refused. Every drop is counted under one.
type Reason uint8

// The reasons.
const (
	reasonNone Reason = iota
	// ReasonNoMatch: no connection but perhaps the sender subscribes to the name. Rules: P-fwd-4.
	ReasonNoMatch
	// ReasonTTL: the message has made its last hop.
	ReasonTTL
	// ReasonMAC: the header MAC is wrong, short or stale.
	ReasonMAC
	// ReasonUnsigned: the header MAC is missing on a link that has a key.
	ReasonUnsigned
	// ReasonInvalid: header, source, destination or session header is missing, or nothing is set at all.
	ReasonInvalid
	// ReasonUndecodable: no protobuf; the stream is ended, as upstream does.
	ReasonUndecodable
	// ReasonTooLarge: over what the transport takes, 4 MiB by gRPC: of a sender, the connection is ended; for a
	// receiver, the message is dropped.
	ReasonTooLarge
	// ReasonCompressed: an unknown grpc-encoding, or the compressed flag without one; the stream is refused or ended.
	ReasonCompressed
	// ReasonStalled: the receiver drains nothing or next to nothing.
	ReasonStalled
	// ReasonFull: the receiver's buffer is full and the policy is drop.
	ReasonFull
	// ReasonGone: the receiver ended while the message was on its way.
	ReasonGone
	// ReasonNegotiation: the negotiation failed.
	ReasonNegotiation
	// ReasonTimeout: the negotiation did not come in time.
	ReasonTimeout
	// ReasonPeer: a peer link to oneself or to another deployment.
	ReasonPeer
	// ReasonPath: unknown path or method.
	ReasonPath
	// ReasonProtocol: HTTP/2 was broken.
	ReasonProtocol
	// ReasonFlood: too many frames that carry nothing.
	ReasonFlood
	// ReasonSubscriptions: more subscriptions than one connection may hold.
	ReasonSubscriptions
	// ReasonSubscribe: a subscription was refused by the table.
	ReasonSubscribe
	// ReasonStrings: the strings of a name do not hash to it; they were not kept.
	ReasonStrings
	// ReasonKeepalive: a PING was not answered.
	ReasonKeepalive
	// ReasonBacklog: acknowledgements nobody reads.
	ReasonBacklog
	// ReasonUnfinished: messages, frames or header blocks that do not become complete.
	ReasonUnfinished
	// ReasonConnections: more connections than the node takes.
	ReasonConnections
	// ReasonHeader: the header of a publish and what comes before it are longer than Options.MaxHeader.
	ReasonHeader
	// ReasonClaim: a connection may not be of the kind that it claims, or there are too many of that.
	ReasonClaim
	// ReasonNames: more subscriptions, or strings of names, than the node may hold.
	ReasonNames
	// ReasonSockets: more sockets than the node may have; clients wait to be accepted. It counts how often that began.
	ReasonSockets
	// ReasonMemory: unfinished messages of the node take more memory than it may have for them.
	ReasonMemory
	// ReasonQueued: what waits in the node takes more memory than it may have for that.
	ReasonQueued
	// ReasonEnded: the sender's connection has ended here, which the sender did not know yet.
	ReasonEnded
	// ReasonTLS: a TLS handshake was broken, or failed for a reason that is none of the following.
	ReasonTLS
	// ReasonTLSTimeout: a TLS handshake was not complete in time.
	ReasonTLSTimeout
	// ReasonTLSPlain: a peer does not speak TLS on an endpoint that has it.
	ReasonTLSPlain
	// ReasonTLSMismatch: no common version, cipher suite or key exchange.
	ReasonTLSMismatch
	// ReasonTLSCertificate: the certificate of a peer is missing, or is not accepted.
	ReasonTLSCertificate
	// ReasonTLSRefused: a peer does not accept something of ours, such as the certificate.
	ReasonTLSRefused
	// ReasonTLSReset: a peer ended the connection during its TLS handshake.
	ReasonTLSReset
	// ReasonHandshake: what came to a WebSocket listener could not open a connection.
	ReasonHandshake
	// ReasonWebSocket: WebSocket was broken.
	ReasonWebSocket
	// ReasonExpand: a compressed message does not expand; its connection is ended.
	ReasonExpand
	// ReasonExpanded: a compressed message has more content than is taken; likewise.
	ReasonExpanded
	// ReasonUnauthorized: a request has shown wrong credentials, or none.
	ReasonUnauthorized
	// ReasonForbidden: the policy of a listener refuses who has asked.
	ReasonForbidden
	// ReasonUnjudged: credentials could not be judged, or not in time.
	ReasonUnjudged
	// ReasonRevoked: keys or policies have changed, and do not allow a connection any more; it is ended.
	ReasonRevoked
	// ReasonDenied: rules do not let a connection use a name: of a publish, which is dropped, or of a subscription, which is
	// refused or taken back.
	ReasonDenied
	// ReasonRepeated: a message to many has come over the link that this one replaces, or the other way round. Rules: P-ctl-9.
	ReasonRepeated
	numReasons
)

var reasonNames = [numReasons]string{"none", "no_match", "ttl_expired", "bad_mac", "unsigned", "invalid", "undecodable",
	"too_large", "compressed", "receiver_stalled", "receiver_full", "receiver_gone", "negotiation_failed",
	"negotiation_timeout", "peer_refused", "unknown_path", "http2_error", "flood", "too_many_subscriptions",
	"subscription_refused", "name_strings", "keepalive_timeout", "control_backlog",
	"unfinished", "too_many_connections", "header_too_large", "claim_refused", "too_many_names",
	"too_many_sockets", "unfinished_limit", "queued_limit", "sender_ended",
	"tls_error", "tls_timeout", "tls_plain_text", "tls_mismatch", "tls_certificate", "tls_refused_by_peer", "tls_reset",
	"bad_handshake", "websocket_error", "bad_compression", "expands_too_large",
	"unauthorized", "forbidden", "not_judged", "revoked", "denied", "repeated"}

// String returns the word used in logs and statistics.
func (r Reason) String() string {
	if r < numReasons {
		return reasonNames[r]
	}
	return fmt.Sprintf("reason(%d)", uint8(r))
}

// Reasons returns all reasons.
func Reasons() []Reason {
	all := make([]Reason, 0, numReasons)
	for r := reasonNone + 1; r < numReasons; r++ {
		all = append(all, r)
	}
	return all
}

// dropReasons are those under which messages die, refuseReasons those under which somebody is turned away; some are both.
var (
	dropReasons = reasonSet(ReasonNoMatch, ReasonTTL, ReasonMAC, ReasonUnsigned, ReasonInvalid, ReasonUndecodable, ReasonTooLarge,
		ReasonStalled, ReasonFull, ReasonGone, ReasonHeader, ReasonQueued, ReasonEnded, ReasonDenied, ReasonRepeated)
	refuseReasons = ^reasonSet(ReasonNoMatch, ReasonTTL, ReasonMAC, ReasonUnsigned, ReasonInvalid, ReasonFull, ReasonGone, ReasonHeader,
		ReasonEnded, ReasonRepeated)
)

func reasonSet(rs ...Reason) (set uint64) {
	for _, r := range rs {
		set |= 1 << r
	}
	return set
}

// Drops reports whether messages die under r.
func (r Reason) Drops() bool { return dropReasons&(1<<r) != 0 }

// Refuses reports whether somebody is turned away under r.
func (r Reason) Refuses() bool { return refuseReasons&(1<<r) != 0 }

// verdictReasons are the reasons under which the drops of package hop are counted.
var verdictReasons = [hop.NumVerdicts]Reason{
	hop.Undecodable: ReasonUndecodable,
	hop.Odd:         ReasonInvalid,
	hop.TooLong:     ReasonHeader,
	hop.Invalid:     ReasonInvalid,
	hop.Unsigned:    ReasonUnsigned,
	hop.BadMAC:      ReasonMAC,
	hop.Expired:     ReasonTTL,
}

// reasonOf returns the reason under which a fault of a transport is counted.
func reasonOf(f transport.Fault) Reason { return faultReasons[f] }

var faultReasons = [transport.NumFaults]Reason{
	transport.FaultPath:        ReasonPath,
	transport.FaultCompressed:  ReasonCompressed,
	transport.FaultTooLarge:    ReasonTooLarge,
	transport.FaultProtocol:    ReasonProtocol,
	transport.FaultFlood:       ReasonFlood,
	transport.FaultTimeout:     ReasonTimeout,
	transport.FaultUnfinished:  ReasonUnfinished,
	transport.FaultKeepalive:   ReasonKeepalive,
	transport.FaultBacklog:     ReasonBacklog,
	transport.FaultUnread:      ReasonStalled,
	transport.FaultConnections: ReasonConnections,
	transport.FaultMemory:      ReasonMemory,
	transport.FaultHandshake:   ReasonHandshake,
	transport.FaultWebSocket:   ReasonWebSocket,
	transport.FaultExpand:      ReasonExpand,
	transport.FaultExpanded:    ReasonExpanded,

	transport.FaultUnauthorized: ReasonUnauthorized,
	transport.FaultForbidden:    ReasonForbidden,
	transport.FaultUnjudged:     ReasonUnjudged,
}
