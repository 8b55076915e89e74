# filled by its module
