"""A student of trees as a conifer project, for groups whose build starts from one."""
