package auth

import "time"

// Acts that are written down.
const (
	ActConnect   = "connect"   // a request to open a channel
	ActClaim     = "claim"     // a kind of connection, in the negotiation
	ActSubscribe = "subscribe" // to a name
	ActPublish   = "publish"   // to a name, or from one
	ActClose     = "close"     // of a connection that is no longer allowed
	ActReload    = "reload"    // of keys, policies or rules
)

// Event is one decision: who, how, when, allowed or why not. It holds no secret.
type Event struct {
	Time      time.Time `json:"time"`
	Act       string    `json:"act"`
	Allowed   bool      `json:"allowed"`
	Reason    string    `json:"reason,omitempty"` // why not
	Listener  string    `json:"listener,omitempty"`
	Peer      string    `json:"peer,omitempty"`       // address
	Conn      uint64    `json:"connection,omitempty"` // number, as in the log
	Mechanism string    `json:"mechanism,omitempty"`
	Subject   string    `json:"subject,omitempty"`
	Issuer    string    `json:"issuer,omitempty"`
	Kind      string    `json:"kind,omitempty"` // of the connection
	Name      string    `json:"name,omitempty"` // that was subscribed or published to
	Source    string    `json:"source,omitempty"`
	Status    int       `json:"status,omitempty"` // of HTTP, of a request that was denied
}

// Audit takes events. It never waits: what it has no room for it drops and counts. Safe for all.
type Audit interface{ Note(*Event) }
