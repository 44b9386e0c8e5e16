package a2aslim

import (
	"errors"

	"github.com/a2aproject/a2a-go/a2a"
	"github.com/a2aproject/a2a-go/a2apb"
	"github.com/a2aproject/a2a-go/a2apb/pbconv"
	"google.golang.org/protobuf/types/known/emptypb"
)

// protocol03 is A2A 0.3, by the types and conversions of a2a-go.
var protocol03 = func() *protocol {
	send := codec[*a2a.MessageSendParams, a2apb.SendMessageRequest]{pbconv.ToProtoSendMessageRequest,
		func(r *a2apb.SendMessageRequest) (*a2a.MessageSendParams, error) {
			if r.GetRequest() == nil {
				return nil, errNoMessage
			}
			return pbconv.FromProtoSendMessageRequest(r)
		}}
	event := codec[a2a.Event, a2apb.StreamResponse]{pbconv.ToProtoStreamResponse, pbconv.FromProtoStreamResponse}
	task := codec[*a2a.Task, a2apb.Task]{pbconv.ToProtoTask, pbconv.FromProtoTask}
	push := codec[*a2a.TaskPushConfig, a2apb.TaskPushNotificationConfig]{pbconv.ToProtoTaskPushConfig, pbconv.FromProtoTaskPushConfig}
	return &protocol{
		send: unary(method(service03, "SendMessage"), send,
			codec[a2a.SendMessageResult, a2apb.SendMessageResponse]{pbconv.ToProtoSendMessageResponse, pbconv.FromProtoSendMessageResponse}),
		sendStream: streaming(serverStream(service03, "SendStreamingMessage"), send, event),
		get: unary(method(service03, "GetTask"),
			codec[*a2a.TaskQueryParams, a2apb.GetTaskRequest]{pbconv.ToProtoGetTaskRequest, pbconv.FromProtoGetTaskRequest}, task),
		cancel: unary(method(service03, "CancelTask"),
			codec[*a2a.TaskIDParams, a2apb.CancelTaskRequest]{pbconv.ToProtoCancelTaskRequest, taskNamed[*a2apb.CancelTaskRequest]}, task),
		subscribe: streaming(serverStream(service03, "TaskSubscription"),
			codec[*a2a.TaskIDParams, a2apb.TaskSubscriptionRequest]{pbconv.ToProtoTaskSubscriptionRequest, taskNamed[*a2apb.TaskSubscriptionRequest]}, event),
		setPush: unary(method(service03, "CreateTaskPushNotificationConfig"),
			codec[*a2a.TaskPushConfig, a2apb.CreateTaskPushNotificationConfigRequest]{createPush03, pbconv.FromProtoCreateTaskPushConfigRequest}, push),
		getPush: unary(method(service03, "GetTaskPushNotificationConfig"),
			codec[*a2a.GetTaskPushConfigParams, a2apb.GetTaskPushNotificationConfigRequest]{
				pbconv.ToProtoGetTaskPushConfigRequest, pbconv.FromProtoGetTaskPushConfigRequest}, push),
		listPush: unary(method(service03, "ListTaskPushNotificationConfig"),
			codec[*a2a.ListTaskPushConfigParams, a2apb.ListTaskPushNotificationConfigRequest]{pbconv.ToProtoListTaskPushConfigRequest,
				func(r *a2apb.ListTaskPushNotificationConfigRequest) (*a2a.ListTaskPushConfigParams, error) {
					id, err := pbconv.ExtractTaskID(r.GetParent())
					return &a2a.ListTaskPushConfigParams{TaskID: id}, err
				}},
			codec[[]*a2a.TaskPushConfig, a2apb.ListTaskPushNotificationConfigResponse]{pbconv.ToProtoListTaskPushConfig, pbconv.FromProtoListTaskPushConfig}),
		deletePush: unary(method(service03, "DeleteTaskPushNotificationConfig"),
			codec[*a2a.DeleteTaskPushConfigParams, a2apb.DeleteTaskPushNotificationConfigRequest]{
				pbconv.ToProtoDeleteTaskPushConfigRequest, pbconv.FromProtoDeleteTaskPushConfigRequest}, blank[emptypb.Empty]()),
		card: unary(method(service03, "GetAgentCard"),
			blank[a2apb.GetAgentCardRequest](), codec[*a2a.AgentCard, a2apb.AgentCard]{pbconv.ToProtoAgentCard, pbconv.FromProtoAgentCard}),
	}
}()

var errNoMessage = errors.New("there is no message")

// taskNamed reads the name of a task, tasks/ID.
func taskNamed[Req interface{ GetName() string }](r Req) (*a2a.TaskIDParams, error) {
	id, err := pbconv.ExtractTaskID(r.GetName())
	return &a2a.TaskIDParams{ID: id}, err
}

// createPush03 is pbconv's, with the names that other servers ask for, too.
func createPush03(p *a2a.TaskPushConfig) (*a2apb.CreateTaskPushNotificationConfigRequest, error) {
	r, err := pbconv.ToProtoCreateTaskPushConfigRequest(p)
	if err == nil {
		r.ConfigId = p.Config.ID
		r.Config.Name = pbconv.MakeConfigName(p.TaskID, p.Config.ID)
	}
	return r, err
}
