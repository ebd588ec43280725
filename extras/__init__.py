"""What not everyone needs of contactapi: the table EXTRAS of contactapi.py names each
and what asks for it. The other modules are parts of those:

    outbox        senders, worker
    captcha       outgoing
    mail          letters, smtp, confirm
    twilio        outgoing
    webhooks      endpoints, deliveries, chat_shapes, outgoing, event_log
    history       event_log
    spreadsheets  csv_rows
    mcp           mcp_tools
"""
