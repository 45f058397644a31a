/// What the server counts, by the names that `/metrics` has.
public enum ServerMetrics {
    public static let help = [
        "ecard_payment_steps_total": "Steps of payments that became durable, by state and by who caused them.",
        "ecard_messages_sent_total": "Messages that a gateway took, by channel and kind.",
        "ecard_messages_failed_total": "Tries to hand a message to a gateway that failed, by channel and kind.",
        "ecard_messages_waiting": "Messages in the queues, by channel.",
        "ecard_gateway_up": "Whether a gateway answers: 1 or 0, by channel and gateway.",
        "ecard_webhooks_delivered_total": "Webhook events that a merchant's server took.",
        "ecard_webhooks_failed_total": "Tries to deliver a webhook event that failed.",
        "ecard_issuer_unanswered_total": "Calls to an issuer that runs apart that got no answer.",
        "hb_requests_total": "HTTP requests, by route and method.",
        "hb_request_errors_total": "HTTP requests that failed, by route, method and status.",
        "http_server_active_requests": "HTTP requests that are being answered.",
        "http_server_request_duration_seconds": "Time to a request's answer, by route, method and status.",
    ]
}
