"""Every order that a workflow gives to an activity: who may have it, on what terms, and what comes back.

A function here is named after its activity and takes its argument first; its return type is what the activity
answers with. Workflows import no activity, so that whoever imports a workflow gets nothing of what activities
need.
"""
