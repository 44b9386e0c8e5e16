package mcpslim

import (
	"bytes"
	"encoding/json"
	"fmt"

	"github.com/modelcontextprotocol/go-sdk/jsonrpc"
)

// Codes of errors that this package adds to those of JSON-RPC.
const (
	// CodeBusy: as many calls of the session are served as may be. The same call can be tried again.
	CodeBusy = -32000
	// CodeTooLarge: a request that a session does not take (session.MaxContent). The connection goes on.
	CodeTooLarge = -32005
)

// refusal is what is wrong with a message, and what its sender is told.
type refusal struct {
	id        jsonrpc.ID // of the call; invalid: none, or nobody knows
	code      int64
	text      string
	malformed bool
	silent    bool // it is no call, which could be answered
}

// answer is the error response. One to nobody knows what has a null for its id, as JSON-RPC wants.
func (r *refusal) answer() []byte {
	b, err := json.Marshal(struct {
		Version string         `json:"jsonrpc"`
		ID      any            `json:"id"`
		Error   *jsonrpc.Error `json:"error"`
	}{"2.0", r.id.Raw(), &jsonrpc.Error{Code: r.code, Message: r.text}})
	if err != nil {
		panic("mcpslim: " + err.Error()) // strings and numbers
	}
	return b
}

// decode reads a message of JSON-RPC as the SDK does, and says what else is to be said of it. What is a response, or looks like one, is
// never answered, so that two ends do not answer each other's errors.
func decode(b []byte) (jsonrpc.Message, *refusal) {
	// The standard library bounds how deep values lie in each other, which the SDK's decoder does not.
	if !json.Valid(b) {
		return nil, &refusal{code: jsonrpc.CodeParseError, text: "the message is no JSON", malformed: true}
	}
	if b = bytes.TrimLeft(b, " \t\r\n"); b[0] == '[' {
		return nil, &refusal{code: jsonrpc.CodeInvalidRequest, text: "batches are not taken", malformed: true}
	}
	m, err := jsonrpc.DecodeMessage(b)
	if err == nil {
		return m, nil
	}
	r := &refusal{code: jsonrpc.CodeInvalidRequest, text: fmt.Sprintf("the message is none of JSON-RPC 2.0: %v", err), malformed: true}
	var loose struct {
		ID     any             `json:"id"`
		Method json.RawMessage `json:"method"`
	}
	if json.Unmarshal(b, &loose) == nil && loose.Method == nil {
		r.silent = true
	} else if id, err := jsonrpc.MakeID(loose.ID); err == nil {
		r.id = id
	}
	return nil, r
}
