package mcpslim

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/seed31b3bfd0/slimgo/session"
)

// ClientTransport opens a session with a server. It is for one call of Client.Connect, as all transports of the SDK are; it is not changed,
// so that one that is made for each attempt can be a copy of another.
type ClientTransport struct {
	// App is who calls. It may have any number of connections, and is not closed with them.
	App *session.App
	// Server is the name of the server: of any instance, unless it has an id.
	Server session.Name
	// Session says what the session is like. The zero value is encrypted; with Plain it is as slim-mcp opens them. It is always reliable.
	Session session.SessionOptions
	// Calls is how many calls of the server, for sampling or elicitation, are served at a time; 0: DefaultCalls.
	Calls int
	// Logger is told of what the server says that is none of MCP; nil: nobody is.
	Logger *slog.Logger
}

var _ mcp.Transport = (*ClientTransport)(nil)

// Connect implements mcp.Transport. Errors are those of App.Open; session.ErrTimeout: nobody of that name answers.
func (t *ClientTransport) Connect(ctx context.Context) (mcp.Connection, error) {
	if t.Session.Unreliable {
		return nil, fmt.Errorf("%w: MCP needs a session that is reliable", session.ErrConfig)
	}
	s, err := t.App.Open(ctx, t.Server, t.Session)
	if err != nil {
		return nil, err
	}
	return newConn(s, t.Calls, t.Logger, nil), nil
}

// SessionTransport is a session that is there, for a server or a client: of apps that listen, or open sessions, themselves. The
// connection takes it over and closes it.
type SessionTransport struct {
	Session *session.Session
	Calls   int          // as those of ClientTransport
	Logger  *slog.Logger // as that of ClientTransport
}

var _ mcp.Transport = (*SessionTransport)(nil)

// Connect implements mcp.Transport.
func (t *SessionTransport) Connect(context.Context) (mcp.Connection, error) {
	return newConn(t.Session, t.Calls, t.Logger, nil), nil
}

// callerKey is where the sender's name is in auth.TokenInfo.Extra.
const callerKey = "slim.name"

// Caller is who has sent a request.
type Caller struct {
	Subject string       // of its token, verified by the encryption of the session
	Name    session.Name // with its id
}

// CallerOf says who calls a tool, out of the Extra of its request; false: the session is plain, where nothing is verified, or no session of
// SLIM. UserID of Extra.TokenInfo is the subject, too, for middleware that looks there.
func CallerOf(x *mcp.RequestExtra) (Caller, bool) {
	if x == nil || x.TokenInfo == nil {
		return Caller{}, false
	}
	name, ok := x.TokenInfo.Extra[callerKey].(session.Name)
	return Caller{x.TokenInfo.UserID, name}, ok
}
