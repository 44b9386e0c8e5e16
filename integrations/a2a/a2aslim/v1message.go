package a2aslim

import (
	"encoding/base64"
	"errors"
	"fmt"

	"github.com/a2aproject/a2a-go/a2a"
	"google.golang.org/protobuf/types/known/structpb"

	"github.com/seed31b3bfd0/slimgo/integrations/a2a/internal/a2av1"
)

// Requests, messages and their parts in A2A 1.0. Each of them has a function that writes it, To1, and one that reads it, From1.

func sendTo1(p *a2a.MessageSendParams) (*a2av1.SendMessageRequest, error) {
	if p == nil || p.Message == nil {
		return nil, errNoMessage
	}
	message, err := messageTo1(p.Message)
	if err != nil {
		return nil, err
	}
	md, err := structOf(p.Metadata)
	if err != nil {
		return nil, err
	}
	r := &a2av1.SendMessageRequest{Message: message, Metadata: md}
	if c := p.Config; c != nil {
		r.Configuration = &a2av1.SendMessageConfiguration{
			AcceptedOutputModes: c.AcceptedOutputModes, HistoryLength: int32Of(c.HistoryLength), ReturnImmediately: c.Blocking != nil && !*c.Blocking,
		}
		if c.PushConfig != nil {
			r.Configuration.TaskPushNotificationConfig, _ = pushTo1(&a2a.TaskPushConfig{Config: *c.PushConfig})
		}
	}
	return r, nil
}

func sendFrom1(r *a2av1.SendMessageRequest) (*a2a.MessageSendParams, error) {
	if r.GetMessage() == nil {
		return nil, errNoMessage
	}
	message, err := messageFrom1(r.GetMessage())
	if err != nil {
		return nil, err
	}
	p := &a2a.MessageSendParams{Message: message, Metadata: mapOf(r.GetMetadata())}
	if c := r.GetConfiguration(); c != nil {
		blocking := !c.GetReturnImmediately()
		p.Config = &a2a.MessageSendConfig{AcceptedOutputModes: c.GetAcceptedOutputModes(), HistoryLength: intOf(c.HistoryLength), Blocking: &blocking}
		if c.GetTaskPushNotificationConfig() != nil {
			push, _ := pushFrom1(c.GetTaskPushNotificationConfig())
			p.Config.PushConfig = &push.Config
		}
	}
	return p, nil
}

func messageTo1(m *a2a.Message) (*a2av1.Message, error) {
	if m == nil {
		return nil, nil
	}
	parts, err := each(m.Parts, partTo1)
	if err != nil {
		return nil, err
	}
	md, err := structOf(m.Metadata)
	if err != nil {
		return nil, err
	}
	return &a2av1.Message{
		MessageId: m.ID, ContextId: m.ContextID, TaskId: string(m.TaskID), Role: roles[m.Role], Parts: parts, Metadata: md,
		Extensions: m.Extensions, ReferenceTaskIds: texts[string](m.ReferenceTasks),
	}, nil
}

func messageFrom1(m *a2av1.Message) (*a2a.Message, error) {
	if m == nil {
		return nil, nil
	}
	parts, err := each(m.GetParts(), partFrom1)
	if err != nil {
		return nil, err
	}
	return &a2a.Message{
		ID: m.GetMessageId(), ContextID: m.GetContextId(), TaskID: a2a.TaskID(m.GetTaskId()), Role: keyOf(roles, m.GetRole()), Parts: parts,
		Metadata: mapOf(m.GetMetadata()), Extensions: m.GetExtensions(), ReferenceTasks: texts[a2a.TaskID](m.GetReferenceTaskIds()),
	}, nil
}

var roles = map[a2a.MessageRole]a2av1.Role{a2a.MessageRoleUser: a2av1.Role_ROLE_USER, a2a.MessageRoleAgent: a2av1.Role_ROLE_AGENT}

// wrapped marks the data of a part as what A2A 0.3 has no type for, a value that is no object: it is in the one field value. slima2a does the
// same.
const (
	wrapped = "data_part_compat"
	value   = "value"
)

func partTo1(p a2a.Part) (*a2av1.Part, error) {
	if p == nil {
		return nil, errors.New("a part that is nil")
	}
	meta := p.Meta()
	part := new(a2av1.Part)
	switch p := p.(type) {
	case a2a.TextPart:
		part.Content = &a2av1.Part_Text{Text: p.Text}
	case a2a.DataPart:
		data := any(p.Data)
		if meta[wrapped] == true {
			data, meta = p.Data[value], without(meta, wrapped)
		}
		v, err := structpb.NewValue(data)
		if err != nil {
			return nil, fmt.Errorf("the data of a part: %w", err)
		}
		part.Content = &a2av1.Part_Data{Data: v}
	case a2a.FilePart:
		if err := fileTo1(p, part); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("a part of type %T", p)
	}
	var err error
	part.Metadata, err = structOf(meta)
	return part, err
}

func fileTo1(p a2a.FilePart, part *a2av1.Part) error {
	switch f := p.File.(type) {
	case a2a.FileBytes:
		b, err := base64.StdEncoding.DecodeString(f.Bytes)
		if err != nil {
			return fmt.Errorf("the file %q: its bytes are no base64: %w", f.Name, err)
		}
		part.Content, part.Filename, part.MediaType = &a2av1.Part_Raw{Raw: b}, f.Name, f.MimeType
	case a2a.FileURI:
		part.Content, part.Filename, part.MediaType = &a2av1.Part_Url{Url: f.URI}, f.Name, f.MimeType
	default:
		return fmt.Errorf("a file of type %T", f)
	}
	return nil
}

func partFrom1(p *a2av1.Part) (a2a.Part, error) {
	meta := mapOf(p.GetMetadata())
	file := a2a.FileMeta{Name: p.GetFilename(), MimeType: p.GetMediaType()}
	switch c := p.GetContent().(type) {
	case *a2av1.Part_Text:
		return a2a.TextPart{Text: c.Text, Metadata: meta}, nil
	case *a2av1.Part_Raw:
		return a2a.FilePart{File: a2a.FileBytes{FileMeta: file, Bytes: base64.StdEncoding.EncodeToString(c.Raw)}, Metadata: meta}, nil
	case *a2av1.Part_Url:
		return a2a.FilePart{File: a2a.FileURI{FileMeta: file, URI: c.Url}, Metadata: meta}, nil
	case *a2av1.Part_Data:
		data := c.Data.AsInterface()
		if object, ok := data.(map[string]any); ok {
			return a2a.DataPart{Data: object, Metadata: meta}, nil
		}
		if meta == nil {
			meta = map[string]any{}
		}
		meta[wrapped] = true
		return a2a.DataPart{Data: map[string]any{value: data}, Metadata: meta}, nil
	}
	return nil, errors.New("a part that is neither text, file nor data")
}
