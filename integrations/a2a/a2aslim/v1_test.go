package a2aslim

import (
	"maps"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/a2aproject/a2a-go/a2a"
	"google.golang.org/protobuf/proto"
)

// there and back: a value is the same after it was on the wire.
func roundTrip[Value any, Msg any](t *testing.T, v Value, to func(Value) (*Msg, error), from func(*Msg) (Value, error)) {
	t.Helper()
	got, err := again(v, to, from)
	if err != nil {
		t.Errorf("%T: %v", v, err)
		return
	}
	if !reflect.DeepEqual(got, v) {
		t.Errorf("%T becomes\n%+v, and was\n%+v", v, got, v)
	}
}

// again is a value that was on the wire.
func again[Value any, Msg any](v Value, to func(Value) (*Msg, error), from func(*Msg) (Value, error)) (got Value, err error) {
	m, err := to(v)
	if err != nil {
		return got, err
	}
	b, err := proto.Marshal(any(m).(proto.Message))
	if err != nil {
		return got, err
	}
	back := new(Msg)
	if err := proto.Unmarshal(b, any(back).(proto.Message)); err != nil {
		return got, err
	}
	return from(back)
}

// full values: no field is the zero one.
var (
	fullTime    = time.Date(2026, 11, 29, 12, 0, 0, 5, time.UTC)
	fullMeta    = map[string]any{"text": "t", "number": 1.5, "list": []any{true, nil, map[string]any{"k": "v"}}}
	fullMessage = &a2a.Message{
		ID: "m", ContextID: "c", TaskID: "t", Role: a2a.MessageRoleUser, Extensions: []string{"https://example.org/x"}, Metadata: fullMeta,
		ReferenceTasks: []a2a.TaskID{"other", "another"},
		Parts: []a2a.Part{
			a2a.TextPart{Text: "text", Metadata: fullMeta},
			a2a.DataPart{Data: fullMeta, Metadata: fullMeta},
			a2a.DataPart{Data: map[string]any{value: []any{"no", "object"}}, Metadata: map[string]any{wrapped: true}},
			a2a.FilePart{File: a2a.FileBytes{FileMeta: a2a.FileMeta{MimeType: "image/png", Name: "p"}, Bytes: "AAEC"}, Metadata: fullMeta},
			a2a.FilePart{File: a2a.FileURI{FileMeta: a2a.FileMeta{MimeType: "image/png", Name: "p"}, URI: "https://example.org/p"}},
		},
	}
	fullStatus   = a2a.TaskStatus{State: a2a.TaskStateInputRequired, Message: fullMessage, Timestamp: &fullTime}
	fullArtifact = &a2a.Artifact{
		ID: "a", Name: "n", Description: "d", Parts: fullMessage.Parts, Metadata: fullMeta, Extensions: []string{"https://example.org/x"},
	}
	fullTask = &a2a.Task{
		ID: "t", ContextID: "c", Status: fullStatus, Artifacts: []*a2a.Artifact{fullArtifact}, History: []*a2a.Message{fullMessage}, Metadata: fullMeta,
	}
	fullPush = &a2a.TaskPushConfig{TaskID: "t", Config: a2a.PushConfig{
		ID: "p", URL: "https://example.org/hook", Token: "secret", Auth: &a2a.PushAuthInfo{Schemes: []string{"Bearer"}, Credentials: "c"},
	}}
	fullCard = &a2a.AgentCard{
		Name: "n", Description: "d", Version: "1", ProtocolVersion: "1.0", URL: "org/ns/agent", PreferredTransport: Transport, IconURL: "https://example.org/i",
		DocumentationURL: "https://example.org/d", DefaultInputModes: []string{"text/plain"}, DefaultOutputModes: []string{"image/png"},
		AdditionalInterfaces: []a2a.AgentInterface{{URL: "https://example.org", Transport: a2a.TransportProtocolGRPC}},
		Provider:             &a2a.AgentProvider{Org: "o", URL: "https://example.org"}, SupportsAuthenticatedExtendedCard: true,
		Capabilities: a2a.AgentCapabilities{Streaming: true, PushNotifications: true, Extensions: []a2a.AgentExtension{
			{URI: "https://example.org/x", Description: "d", Required: true, Params: fullMeta},
		}},
		Skills: []a2a.AgentSkill{{
			ID: "s", Name: "n", Description: "d", Tags: []string{"t"}, Examples: []string{"e"}, InputModes: []string{"i"}, OutputModes: []string{"o"},
			Security: []a2a.SecurityRequirements{{"key": {"scope"}}},
		}},
		Security:   []a2a.SecurityRequirements{{"key": {"scope"}, "other": {"a", "b"}}},
		Signatures: []a2a.AgentCardSignature{{Protected: "p", Signature: "s", Header: fullMeta}},
		SecuritySchemes: a2a.NamedSecuritySchemes{
			"key":  a2a.APIKeySecurityScheme{Description: "d", In: a2a.APIKeySecuritySchemeInHeader, Name: "n"},
			"http": a2a.HTTPAuthSecurityScheme{Description: "d", Scheme: "Bearer", BearerFormat: "JWT"},
			"oidc": a2a.OpenIDConnectSecurityScheme{Description: "d", OpenIDConnectURL: "https://example.org"},
			"mtls": a2a.MutualTLSSecurityScheme{Description: "d"},
			"code": a2a.OAuth2SecurityScheme{Description: "d", Oauth2MetadataURL: "https://example.org", Flows: a2a.OAuthFlows{
				AuthorizationCode: &a2a.AuthorizationCodeOAuthFlow{AuthorizationURL: "a", TokenURL: "t", RefreshURL: "r", Scopes: map[string]string{"s": "d"}},
			}},
			"client": a2a.OAuth2SecurityScheme{Flows: a2a.OAuthFlows{
				ClientCredentials: &a2a.ClientCredentialsOAuthFlow{TokenURL: "t", RefreshURL: "r", Scopes: map[string]string{"s": "d"}},
			}},
			"implicit": a2a.OAuth2SecurityScheme{Flows: a2a.OAuthFlows{
				Implicit: &a2a.ImplicitOAuthFlow{AuthorizationURL: "a", RefreshURL: "r", Scopes: map[string]string{"s": "d"}},
			}},
			"password": a2a.OAuth2SecurityScheme{Flows: a2a.OAuthFlows{
				Password: &a2a.PasswordOAuthFlow{TokenURL: "t", RefreshURL: "r", Scopes: map[string]string{"s": "d"}},
			}},
		},
	}
)

// Everything that a2a-go and A2A 1.0 both have comes through.
func TestRoundTripOfVersion1(t *testing.T) {
	n, yes, no := 3, true, false
	push := fullPush.Config
	for _, p := range []*a2a.MessageSendParams{
		{Message: fullMessage, Metadata: fullMeta, Config: &a2a.MessageSendConfig{
			AcceptedOutputModes: []string{"text/plain"}, Blocking: &no, HistoryLength: &n, PushConfig: &push,
		}},
		{Message: &a2a.Message{ID: "m"}, Config: &a2a.MessageSendConfig{Blocking: &yes}},
		{Message: fullMessage},
	} {
		roundTrip(t, p, sendTo1, sendFrom1)
	}
	for _, e := range []a2a.Event{
		fullTask, fullMessage, &a2a.Task{ID: "t"},
		&a2a.TaskStatusUpdateEvent{TaskID: "t", ContextID: "c", Status: fullStatus, Final: true, Metadata: fullMeta},
		&a2a.TaskArtifactUpdateEvent{TaskID: "t", ContextID: "c", Artifact: fullArtifact, Append: true, LastChunk: true, Metadata: fullMeta},
	} {
		roundTrip(t, e, eventTo1, eventFrom1)
	}
	for _, r := range []a2a.SendMessageResult{fullTask, fullMessage} {
		roundTrip(t, r, resultTo1, resultFrom1)
	}
	for s := range maps.Keys(states) {
		roundTrip(t, &a2a.Task{ID: "t", Status: a2a.TaskStatus{State: s}}, taskTo1, taskFrom1)
	}
	roundTrip(t, fullPush, pushTo1, pushFrom1)
	roundTrip(t, &a2a.TaskPushConfig{TaskID: "t"}, pushTo1, pushFrom1)
	roundTrip(t, fullCard, cardTo1, cardFrom1)
	roundTrip(t, &a2a.AgentCard{Name: "n"}, cardTo1, cardFrom1)
}

// An interface by SLIMRPC is listed for both versions, the newer one first, and others as the card says; nothing is listed twice.
func TestInterfacesOfCards(t *testing.T) {
	list := interfacesTo1(&a2a.AgentCard{
		URL: "org/ns/agent", PreferredTransport: Transport, ProtocolVersion: "0.3.0",
		AdditionalInterfaces: []a2a.AgentInterface{{URL: "https://example.org"}, {URL: "org/ns/agent", Transport: Transport}},
	})
	var got []string
	for _, i := range list {
		got = append(got, i.GetProtocolBinding()+" "+i.GetUrl()+" "+i.GetProtocolVersion())
	}
	if want := []string{"slimrpc org/ns/agent 1.0", "slimrpc org/ns/agent 0.3", "JSONRPC https://example.org 0.3.0"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

// FuzzVersion1 reads what peers may send: nothing panics, and what was read once can be written, and is read as the same again.
func FuzzVersion1(f *testing.F) {
	seed := func(n byte, m any, err error) {
		if err != nil {
			f.Fatal(err)
		}
		b, err := proto.Marshal(m.(proto.Message))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(n, b)
	}
	send, err := sendTo1(&a2a.MessageSendParams{Message: fullMessage, Config: new(a2a.MessageSendConfig)})
	seed(0, send, err)
	event, err := eventTo1(fullTask)
	seed(1, event, err)
	event, err = eventTo1(&a2a.TaskStatusUpdateEvent{Status: fullStatus})
	seed(1, event, err)
	result, err := resultTo1(fullMessage)
	seed(2, result, err)
	card, err := cardTo1(fullCard)
	seed(3, card, err)
	push, err := pushTo1(fullPush)
	seed(4, push, err)
	f.Fuzz(func(t *testing.T, n byte, b []byte) {
		switch n % 5 {
		case 0:
			reread(t, b, sendTo1, sendFrom1)
		case 1:
			reread(t, b, eventTo1, eventFrom1)
		case 2:
			reread(t, b, resultTo1, resultFrom1)
		case 3:
			reread(t, b, cardTo1, cardFrom1)
		case 4:
			reread(t, b, pushTo1, pushFrom1)
		}
	})
}

func reread[Value any, Msg any](t *testing.T, b []byte, to func(Value) (*Msg, error), from func(*Msg) (Value, error)) {
	m := new(Msg)
	if proto.Unmarshal(b, any(m).(proto.Message)) != nil {
		return
	}
	v, err := from(m)
	if err != nil {
		return
	}
	once, err := again(v, to, from)
	if err != nil {
		t.Fatalf("what was read cannot be written: %v", err)
	}
	twice, err := again(once, to, from)
	if err != nil || !reflect.DeepEqual(once, twice) && !hasNaN(once) {
		t.Errorf("%+v becomes %+v, %v", once, twice, err)
	}
}

// hasNaN reports whether a value differs from itself.
func hasNaN(v any) bool { return !reflect.DeepEqual(v, v) }
