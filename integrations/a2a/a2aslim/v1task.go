package a2aslim

import (
	"errors"
	"fmt"
	"maps"
	"math"

	"github.com/a2aproject/a2a-go/a2a"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	"github.com/seed31b3bfd0/slimgo/integrations/a2a/internal/a2av1"
)

// Tasks, what becomes of them, and who is told, in A2A 1.0.

func taskTo1(t *a2a.Task) (*a2av1.Task, error) {
	if t == nil {
		return nil, nil
	}
	status, err := statusTo1(t.Status)
	if err != nil {
		return nil, err
	}
	artifacts, err := each(t.Artifacts, artifactTo1)
	if err != nil {
		return nil, err
	}
	history, err := each(t.History, messageTo1)
	if err != nil {
		return nil, err
	}
	md, err := structOf(t.Metadata)
	return &a2av1.Task{Id: string(t.ID), ContextId: t.ContextID, Status: status, Artifacts: artifacts, History: history, Metadata: md}, err
}

func taskFrom1(t *a2av1.Task) (*a2a.Task, error) {
	status, err := statusFrom1(t.GetStatus())
	if err != nil {
		return nil, err
	}
	artifacts, err := each(t.GetArtifacts(), artifactFrom1)
	if err != nil {
		return nil, err
	}
	history, err := each(t.GetHistory(), messageFrom1)
	if err != nil {
		return nil, err
	}
	return &a2a.Task{
		ID: a2a.TaskID(t.GetId()), ContextID: t.GetContextId(), Status: status, Artifacts: artifacts, History: history, Metadata: mapOf(t.GetMetadata()),
	}, nil
}

var states = map[a2a.TaskState]a2av1.TaskState{
	a2a.TaskStateSubmitted: a2av1.TaskState_TASK_STATE_SUBMITTED, a2a.TaskStateWorking: a2av1.TaskState_TASK_STATE_WORKING,
	a2a.TaskStateCompleted: a2av1.TaskState_TASK_STATE_COMPLETED, a2a.TaskStateFailed: a2av1.TaskState_TASK_STATE_FAILED,
	a2a.TaskStateCanceled: a2av1.TaskState_TASK_STATE_CANCELED, a2a.TaskStateRejected: a2av1.TaskState_TASK_STATE_REJECTED,
	a2a.TaskStateInputRequired: a2av1.TaskState_TASK_STATE_INPUT_REQUIRED, a2a.TaskStateAuthRequired: a2av1.TaskState_TASK_STATE_AUTH_REQUIRED,
}

func statusTo1(s a2a.TaskStatus) (*a2av1.TaskStatus, error) {
	message, err := messageTo1(s.Message)
	if err != nil {
		return nil, err
	}
	status := &a2av1.TaskStatus{State: states[s.State], Message: message}
	if s.Timestamp != nil {
		status.Timestamp = timestamppb.New(*s.Timestamp)
	}
	return status, nil
}

func statusFrom1(s *a2av1.TaskStatus) (a2a.TaskStatus, error) {
	if s == nil {
		return a2a.TaskStatus{}, errors.New("there is no status of the task")
	}
	message, err := messageFrom1(s.GetMessage())
	if err != nil {
		return a2a.TaskStatus{}, err
	}
	status := a2a.TaskStatus{State: keyOf(states, s.GetState()), Message: message}
	if s.Timestamp != nil {
		at := s.Timestamp.AsTime()
		status.Timestamp = &at
	}
	return status, nil
}

func artifactTo1(a *a2a.Artifact) (*a2av1.Artifact, error) {
	if a == nil {
		return nil, errors.New("an artifact that is nil")
	}
	parts, err := each(a.Parts, partTo1)
	if err != nil {
		return nil, err
	}
	md, err := structOf(a.Metadata)
	return &a2av1.Artifact{
		ArtifactId: string(a.ID), Name: a.Name, Description: a.Description, Parts: parts, Metadata: md, Extensions: a.Extensions,
	}, err
}

func artifactFrom1(a *a2av1.Artifact) (*a2a.Artifact, error) {
	parts, err := each(a.GetParts(), partFrom1)
	return &a2a.Artifact{
		ID: a2a.ArtifactID(a.GetArtifactId()), Name: a.GetName(), Description: a.GetDescription(), Parts: parts, Metadata: mapOf(a.GetMetadata()),
		Extensions: a.GetExtensions(),
	}, err
}

func resultTo1(result a2a.SendMessageResult) (*a2av1.SendMessageResponse, error) {
	switch r := result.(type) {
	case *a2a.Task:
		task, err := taskTo1(r)
		return &a2av1.SendMessageResponse{Payload: &a2av1.SendMessageResponse_Task{Task: task}}, err
	case *a2a.Message:
		message, err := messageTo1(r)
		return &a2av1.SendMessageResponse{Payload: &a2av1.SendMessageResponse_Message{Message: message}}, err
	}
	return nil, fmt.Errorf("a result of type %T", result)
}

func resultFrom1(r *a2av1.SendMessageResponse) (a2a.SendMessageResult, error) {
	switch p := r.GetPayload().(type) {
	case *a2av1.SendMessageResponse_Task:
		return taskFrom1(p.Task)
	case *a2av1.SendMessageResponse_Message:
		return messageFrom1(p.Message)
	}
	return nil, errors.New("neither a task nor a message")
}

func eventTo1(event a2a.Event) (*a2av1.StreamResponse, error) {
	switch e := event.(type) {
	case *a2a.Task:
		task, err := taskTo1(e)
		return &a2av1.StreamResponse{Payload: &a2av1.StreamResponse_Task{Task: task}}, err
	case *a2a.Message:
		message, err := messageTo1(e)
		return &a2av1.StreamResponse{Payload: &a2av1.StreamResponse_Message{Message: message}}, err
	case *a2a.TaskStatusUpdateEvent:
		status, err := statusTo1(e.Status)
		if err != nil {
			return nil, err
		}
		md, err := structOf(e.Metadata)
		return &a2av1.StreamResponse{Payload: &a2av1.StreamResponse_StatusUpdate{StatusUpdate: &a2av1.TaskStatusUpdateEvent{
			TaskId: string(e.TaskID), ContextId: e.ContextID, Status: status, Metadata: md,
		}}}, err
	case *a2a.TaskArtifactUpdateEvent:
		artifact, err := artifactTo1(e.Artifact)
		if err != nil {
			return nil, err
		}
		md, err := structOf(e.Metadata)
		return &a2av1.StreamResponse{Payload: &a2av1.StreamResponse_ArtifactUpdate{ArtifactUpdate: &a2av1.TaskArtifactUpdateEvent{
			TaskId: string(e.TaskID), ContextId: e.ContextID, Artifact: artifact, Append: e.Append, LastChunk: e.LastChunk, Metadata: md,
		}}}, err
	}
	return nil, fmt.Errorf("an event of type %T", event)
}

func eventFrom1(r *a2av1.StreamResponse) (a2a.Event, error) {
	switch p := r.GetPayload().(type) {
	case *a2av1.StreamResponse_Task:
		return taskFrom1(p.Task)
	case *a2av1.StreamResponse_Message:
		return messageFrom1(p.Message)
	case *a2av1.StreamResponse_StatusUpdate:
		u := p.StatusUpdate
		status, err := statusFrom1(u.GetStatus())
		return &a2a.TaskStatusUpdateEvent{
			TaskID: a2a.TaskID(u.GetTaskId()), ContextID: u.GetContextId(), Status: status, Final: final(status.State), Metadata: mapOf(u.GetMetadata()),
		}, err
	case *a2av1.StreamResponse_ArtifactUpdate:
		u := p.ArtifactUpdate
		artifact, err := artifactFrom1(u.GetArtifact())
		return &a2a.TaskArtifactUpdateEvent{
			TaskID: a2a.TaskID(u.GetTaskId()), ContextID: u.GetContextId(), Artifact: artifact, Append: u.GetAppend(), LastChunk: u.GetLastChunk(),
			Metadata: mapOf(u.GetMetadata()),
		}, err
	}
	return nil, errors.New("neither a task, a message nor an update of one")
}

// final reports whether a task in that state says no more until it is told something: 1.0 has no field for it.
func final(s a2a.TaskState) bool { return s.Terminal() || s == a2a.TaskStateInputRequired }

func pushTo1(p *a2a.TaskPushConfig) (*a2av1.TaskPushNotificationConfig, error) {
	if p == nil {
		return nil, nil
	}
	config := &a2av1.TaskPushNotificationConfig{TaskId: string(p.TaskID), Id: p.Config.ID, Url: p.Config.URL, Token: p.Config.Token}
	if auth := p.Config.Auth; auth != nil {
		config.Authentication = &a2av1.AuthenticationInfo{Credentials: auth.Credentials}
		if len(auth.Schemes) > 0 { // there is one in 1.0
			config.Authentication.Scheme = auth.Schemes[0]
		}
	}
	return config, nil
}

func pushFrom1(c *a2av1.TaskPushNotificationConfig) (*a2a.TaskPushConfig, error) {
	p := &a2a.TaskPushConfig{TaskID: a2a.TaskID(c.GetTaskId()), Config: a2a.PushConfig{ID: c.GetId(), URL: c.GetUrl(), Token: c.GetToken()}}
	if auth := c.GetAuthentication(); auth != nil {
		p.Config.Auth = &a2a.PushAuthInfo{Credentials: auth.GetCredentials()}
		if auth.GetScheme() != "" {
			p.Config.Auth.Schemes = []string{auth.GetScheme()}
		}
	}
	return p, nil
}

func structOf(m map[string]any) (*structpb.Struct, error) {
	if m == nil {
		return nil, nil
	}
	s, err := structpb.NewStruct(m)
	if err != nil {
		return nil, fmt.Errorf("metadata: %w", err)
	}
	return s, nil
}

func mapOf(s *structpb.Struct) map[string]any {
	if s == nil {
		return nil
	}
	return s.AsMap()
}

func without(m map[string]any, key string) map[string]any {
	m = maps.Clone(m)
	if delete(m, key); len(m) == 0 {
		return nil
	}
	return m
}

// keyOf finds what stands for v; the zero value: nothing does.
func keyOf[K comparable, V comparable](m map[K]V, v V) (key K) {
	for k, other := range m {
		if other == v {
			return k
		}
	}
	return key
}

// texts converts a list of one kind of text to another.
func texts[To, From ~string](list []From) []To {
	if list == nil {
		return nil
	}
	all := make([]To, len(list))
	for i, v := range list {
		all[i] = To(v)
	}
	return all
}

func int32Of(n *int) *int32 {
	if n == nil {
		return nil
	}
	v := int32(min(max(*n, math.MinInt32), math.MaxInt32))
	return &v
}

func intOf(n *int32) *int {
	if n == nil {
		return nil
	}
	v := int(*n)
	return &v
}
